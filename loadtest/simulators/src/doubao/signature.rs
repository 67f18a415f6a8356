//! The signature of the picture storage, its checksum, and made-up fingerprints. Source: wire/doubao.md §5.1, §5.3.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// What is signed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signed<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    /// The query as it was sent.
    pub(super) query: &'a str,
    /// The signed headers, sorted by name.
    pub(super) headers: &'a [(&'a str, &'a str)],
    pub(super) body: &'a [u8],
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    // HMAC takes a key of any length.
    Hmac::<Sha256>::new_from_slice(key)
        .map(|mac| mac.chain_update(text).finalize().into_bytes().to_vec())
        .unwrap_or_default()
}

impl Signed<'_> {
    /// The names of the signed headers, as `SignedHeaders` has them.
    pub(super) fn names(&self) -> String {
        let names: Vec<_> = self.headers.iter().map(|(name, _)| *name).collect();
        names.join(";")
    }

    /// SHA-256 of the canonical request.
    fn canonical(&self) -> String {
        let mut pairs: Vec<_> = self.query.split('&').collect();
        pairs.sort_unstable();
        let headers: String = self
            .headers
            .iter()
            .map(|(name, value)| format!("{name}:{value}\n"))
            .collect();
        let canonical = format!(
            "{}\n{}\n{}\n{headers}\n{}\n{}",
            self.method,
            self.path,
            pairs.join("&"),
            self.names(),
            hex(&Sha256::digest(self.body)),
        );
        hex(&Sha256::digest(canonical))
    }

    /// The signature under a secret key, at a time like `20260301T000000Z`.
    pub(super) fn sign(&self, secret: &str, date: &str) -> String {
        let day: String = date.chars().take(8).collect();
        let text = format!(
            "AWS4-HMAC-SHA256\n{date}\n{}\n{}",
            scope(&day),
            self.canonical()
        );
        let key = [day.as_str(), "cn-north-1", "imagex", "aws4_request"]
            .iter()
            .fold(format!("AWS4{secret}").into_bytes(), |key, part| {
                hmac(&key, part)
            });
        hex(&hmac(&key, &text))
    }
}

/// What a credential is good for.
pub(super) fn scope(day: &str) -> String {
    format!("{day}/cn-north-1/imagex/aws4_request")
}

/// CRC-32/IEEE in 8 lower-case hex digits.
pub(super) fn crc32(bytes: &[u8]) -> String {
    let crc = bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    });
    format!("{:08x}", !crc)
}

/// Whether a fingerprint is `verify_` and the first 20 characters of a UUID v4 with underscores.
pub(super) fn is_fp(fp: &str) -> bool {
    let groups: Vec<_> = fp
        .strip_prefix("verify_")
        .unwrap_or_default()
        .split('_')
        .collect();
    let [first, second, third, fourth] = groups.as_slice() else {
        return false;
    };
    let hex = |text: &str| text.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'));
    first.len() == 8
        && second.len() == 4
        && third.len() == 4
        && third.starts_with('4')
        && matches!(*fourth, "8" | "9" | "a" | "b")
        && groups.iter().all(|group| hex(group))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "c2VjcmV0LWtleS1leGFtcGxl";
    const DATE: (&str, &str) = ("x-amz-date", "20260301T000000Z");
    const TOKEN: (&str, &str) = ("x-amz-security-token", "STS2example-session-token");

    /// The vectors of §5.3.
    #[test]
    fn signs_as_the_page_does() {
        let apply = "Action=ApplyImageUpload&Version=2018-08-01&ServiceId=a9rns2rl98&NeedFallback=true&FileSize=70&FileExtension=.png";
        let older = format!("{apply}&UploadNum=1");
        let commit = "Action=CommitImageUpload&Version=2018-08-01&ServiceId=a9rns2rl98";
        let body = r#"{"SessionKey":"c2Vzc2lvbi1rZXk="}"#;
        let host = [("host", "imagex.bytedanceapi.com"), DATE, TOKEN];
        let cases: [(&str, &str, &str, &[_], &str, _); 3] = [
            (
                "GET",
                "/top/v1",
                apply,
                &[DATE, TOKEN],
                "",
                [
                    "6e483130eecc0b4ab3ef4f2a92c402d85c07723bb21f4d3b0e773c4d7af017fe",
                    "1bc730b06f4b66f4d6d56a93badbe41ea7b7ab0d7a26802d55922c8517c6138c",
                ],
            ),
            (
                "POST",
                "/top/v1",
                commit,
                &[DATE, TOKEN],
                body,
                [
                    "307b3e8139d73b9d42a33c0076f3f035b55506b32ae2872859be64ddac06ed51",
                    "df0ecb076c91c9ece4f881ca49c0c6341bd4186abb87c6cdeca96fc37a6134bb",
                ],
            ),
            (
                "GET",
                "/",
                &older,
                &host,
                "",
                [
                    "99e5b8b2a26bdc3c43535bd7994c91c24dcda0ff6efa0608e351fd5ef9214114",
                    "afbc4f0bfcd0c29f2233d81b586a3606273ec37876d47c416a0aa758d255a120",
                ],
            ),
        ];
        for (method, path, query, headers, body, expected) in cases {
            let signed = Signed {
                method,
                path,
                query,
                headers,
                body: body.as_bytes(),
            };
            let found = [signed.canonical(), signed.sign(SECRET, DATE.1)];
            assert_eq!(found, expected, "{query}");
        }
    }

    /// The vectors of §5.3 and §5.1.
    #[test]
    fn checksums_and_fingerprints() {
        assert_eq!(crc32(b""), "00000000");
        assert_eq!(crc32(b"123456789"), "cbf43926");
        assert_eq!(crc32("豆包".as_bytes()), "0b8d42ac");
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(crc32(&all), "29058c73");
        for fp in [
            "verify_00000000_0000_4000_8",
            "verify_123e4567_e89b_42d3_a",
            "verify_f81d4fae_7dec_41d0_a",
        ] {
            assert!(is_fp(fp), "{fp}");
        }
        for wrong in [
            "00000000_0000_4000_8",
            "verify_00000000_0000_4000_80",
            "verify_00000000-0000-4000-8",
            "verify_00000000_0000_1000_8",
            "verify_0000000G_0000_4000_8",
        ] {
            assert!(!is_fp(wrong), "{wrong}");
        }
    }
}
