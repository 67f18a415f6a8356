//! Proofs of work: challenges that were given, and the check of what comes back. Source: wire/deepseek.md §5.

use std::{
    collections::HashMap,
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use keccak::Keccak;
use serde_json::{Value, json};
use uuid::Uuid;

use super::refusal::{self, Refusal};
use crate::{Call, Reply, Request};

/// The paths that want a proof (§3). `edit_message` wants one too and is not played.
const TARGETS: [&str; 2] = [super::paths::COMPLETION, super::paths::UPLOAD];
const ALGORITHM: &str = "DeepSeekHashV1";
/// How far a client must look; the answers lie below [`NEAR`] unless a test orders them as far as real ones.
const DIFFICULTY: u64 = 144_000;
/// The answers of everyday: found in a millisecond.
const NEAR: u64 = 500;
const EXPIRE_AFTER_MS: u64 = 300_000;

/// The challenges that were given and not used up, by their signature.
#[derive(Debug, Default)]
pub(super) struct Challenges {
    given: HashMap<String, Challenge>,
}

#[derive(Debug)]
struct Challenge {
    token: String,
    target_path: String,
    challenge: String,
    salt: String,
    expire_at: u64,
}

impl Challenges {
    /// `POST /api/v0/chat/create_pow_challenge`.
    pub(super) fn create(
        &mut self,
        body: &Value,
        token: &str,
        call: &mut Call,
    ) -> Result<Reply, Refusal> {
        let target = body.get("target_path").and_then(Value::as_str);
        let Some(target) = target else {
            call.violate("target_path is missing");
            return Err(refusal::missing("target_path"));
        };
        call.note("target_path", target);
        if !TARGETS.contains(&target) {
            call.violate(format!("target_path {target:?} is no path with a proof"));
            return Err(refusal::biz(2, "INVALID_PARAM"));
        }
        let random = Uuid::new_v4().as_u128();
        let spread = |range: u64| u64::try_from(random % u128::from(range)).unwrap_or_default();
        let (answer, life) = match call.fault {
            Some("challenge_real") => (spread(DIFFICULTY), EXPIRE_AFTER_MS),
            Some("challenge_last") => (DIFFICULTY - 1, EXPIRE_AFTER_MS),
            // The bound is exclusive: no client may look there.
            Some("challenge_unsolvable") => (DIFFICULTY, EXPIRE_AFTER_MS),
            Some("challenge_expired") => (spread(NEAR), 0),
            _ => (spread(NEAR), EXPIRE_AFTER_MS),
        };
        let salt: String = hex().chars().take(20).collect();
        let expire_at = now_ms() + life;
        let solution = hash(format!("{salt}_{expire_at}_{answer}").as_bytes());
        let signature = [hex(), hex()].concat();
        let (algorithm, shown) = match call.fault {
            Some("challenge_unknown_algorithm") => ("DeepSeekHashV2", solution.as_str()),
            Some("challenge_not_hex") => (ALGORITHM, "this is no challenge"),
            _ => (ALGORITHM, solution.as_str()),
        };
        let reply = refusal::success(&json!({"challenge": {
            "algorithm": algorithm, "challenge": shown, "salt": salt, "signature": signature,
            "difficulty": DIFFICULTY, "expire_at": expire_at, "expire_after": life, "target_path": target,
        }}));
        let challenge = Challenge {
            token: token.to_owned(),
            target_path: target.to_owned(),
            challenge: solution,
            salt,
            expire_at,
        };
        self.given.insert(signature, challenge);
        Ok(reply)
    }

    /// Checks the proof of a request, and uses it up.
    pub(super) fn check(
        &mut self,
        request: &Request,
        token: &str,
        call: &mut Call,
    ) -> Result<(), Refusal> {
        let header = request.header("x-ds-pow-response");
        let proof = match STANDARD.decode(&header) {
            Ok(proof) if !header.is_empty() => proof,
            _ => {
                call.violate("x-ds-pow-response is missing or no standard Base64");
                return Err(refusal::missing_header());
            }
        };
        let wrong = match serde_json::from_slice(&proof) {
            Ok(proof) => self.wrong(&proof, &request.path, token, now_ms(), call),
            Err(error) => Some(format!("the proof is not JSON: {error}")),
        };
        wrong.map_or(Ok(()), |what| {
            call.violate(what);
            Err(refusal::invalid_pow())
        })
    }

    /// What is wrong with a proof. Right or wrong, its challenge is gone afterwards.
    fn wrong(
        &mut self,
        proof: &Value,
        path: &str,
        token: &str,
        now_ms: u64,
        call: &mut Call,
    ) -> Option<String> {
        let text = |name: &str| proof.get(name).and_then(Value::as_str).unwrap_or_default();
        let Some(given) = self.given.remove(text("signature")) else {
            return Some("the proof's signature was never given, or is used up".to_owned());
        };
        if proof.as_object().is_none_or(|fields| fields.len() != 6) {
            call.violate("the proof has not exactly the six fields of the page");
        }
        let Some(answer) = proof.get("answer").and_then(Value::as_u64) else {
            return Some("the proof's answer is no integer".to_owned());
        };
        call.note("answer", answer);
        let text_of_search = format!("{}_{}_{answer}", given.salt, given.expire_at);
        let wrong = match () {
            () if text("algorithm") != ALGORITHM => "the proof has another algorithm",
            () if text("challenge") != given.challenge || text("salt") != given.salt => {
                "the proof's challenge or salt are not those of its signature"
            }
            () if text("target_path") != given.target_path || path != given.target_path => {
                "the proof is for another path"
            }
            () if token != given.token => "the proof is another token's",
            () if now_ms >= given.expire_at => "the proof has expired",
            () if answer >= DIFFICULTY => "the proof's answer is not below the difficulty",
            () if hash(text_of_search.as_bytes()) != given.challenge => {
                "the proof's answer is wrong"
            }
            () => return None,
        };
        Some(wrong.to_owned())
    }
}

/// 32 random hex digits.
fn hex() -> String {
    Uuid::new_v4().simple().to_string()
}

fn now_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

const RATE: usize = 136;
const ROUNDS: usize = 23;

/// DeepSeekHashV1: SHA3-256 whose permutations leave out their first round, in hex.
fn hash(text: &[u8]) -> String {
    let mut padded = text.to_vec();
    padded.push(0x06);
    padded.resize(padded.len().next_multiple_of(RATE), 0);
    if let Some(last) = padded.last_mut() {
        *last |= 0x80;
    }
    let mut state = [0_u64; 25];
    for block in padded.chunks_exact(RATE) {
        let (words, _) = block.as_chunks::<8>();
        for (lane, word) in state.iter_mut().zip(words) {
            *lane ^= u64::from_le_bytes(*word);
        }
        Keccak::new().with_p1600::<ROUNDS>(|permute| permute(&mut state));
    }
    let bytes = state.iter().take(4).flat_map(|lane| lane.to_le_bytes());
    bytes.map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first and the second table of §5.
    #[test]
    fn hashes_the_vectors_of_the_page() {
        let a = |times: usize| "a".repeat(times);
        let prefix = "0123456789abcdef0123_1700000000000_";
        for (text, expected) in [
            (
                String::new(),
                "e594808bc5b7151ac160c6d39a02e0a8e261ed588578403099e3561dc40c26b3",
            ),
            (
                "abc".to_owned(),
                "f841106c601ce9be9bc38525e90d4178d47f21dd8eb9f238fc55ffaa4ca94506",
            ),
            (
                a(134),
                "3704a28a397175ec1b34143876f27d9964ca009bdf58e88da7a03c2080fdeaa8",
            ),
            (
                a(135),
                "1e3eb415bb0b3ecec08a6f71cf7c8d0591b5594752ba52802a2e60357834f998",
            ),
            (
                a(136),
                "680364b336f77918ed390287a581f96f1371599825acd1e348fa7649fcecbbab",
            ),
            (
                a(272),
                "155f834e0a858121480ddc86615b716cffad9ca3144f14e247047a15206dadf6",
            ),
            (
                "你好，DeepSeek".to_owned(),
                "cf318f5e2aa478c99c48040c39a122faeb47c6950b0ddf95f6ed1c07a2b36a54",
            ),
            (
                format!("{prefix}0"),
                "c80ff74357fc21bee90118dcbe5517114291363c868ec17a9bc4d0fe13e0afb0",
            ),
            (
                format!("{prefix}10"),
                "b541299ca00bf67cc2a7d1a38e07a1bfbbdac37f1154e130d97189f743983adb",
            ),
            (
                format!("{prefix}143999"),
                "49fb336330ea8af8e46df669a1fe34016de2755469cf401ee44a9f637903c3fc",
            ),
            (
                format!("{prefix}144000"),
                "ed994b97e6cfb1158ae905740b3df06c7ca1abd9b4c823e8a3f3a072e2aa7f48",
            ),
            (
                "9fa6d396e71f769c77ee_1771229508176_22533".to_owned(),
                "94e422f2ac55677000b92e561bb1a10da1a7fad54af93fa4706e4c1fa06eba5c",
            ),
            (
                "3bde54628ea8413fee87_1775380966945_107544".to_owned(),
                "7ffc9d19b6eed96a6fca68f8ffe30ee61035d4959e4180f187bf85b356016a96",
            ),
            (
                "dde3ed472be5a2494ee0_1777057596443_58033".to_owned(),
                "b0000b22959bad0cc1ecbbfa07f97191b20332fa10d7341ff9c7ba6e7ed927f1",
            ),
        ] {
            assert_eq!(hash(text.as_bytes()), expected, "{text}");
        }
    }

    /// The header vector of §5, against a challenge that was given as it says.
    #[test]
    fn takes_the_header_of_the_page_once() {
        let header = "eyJhbGdvcml0aG0iOiJEZWVwU2Vla0hhc2hWMSIsImNoYWxsZW5nZSI6Ijk0ZTQyMmYyYWM1NTY3NzAwMGI5MmU1NjFiYjFhMTBkYTFhN2ZhZDU0YWY5M2ZhNDcwNmU0YzFmYTA2ZWJhNWMiLCJzYWx0IjoiOWZhNmQzOTZlNzFmNzY5Yzc3ZWUiLCJhbnN3ZXIiOjIyNTMzLCJzaWduYXR1cmUiOiI1YzNiNTlkOTVmMjgxMDY4MWU2MDYwMTg1MDU4M2IzNDdiYWQ0NzA3MzRmNmFhMjJiYjViNWFiNTVhYTUwMjcxIiwidGFyZ2V0X3BhdGgiOiIvYXBpL3YwL2NoYXQvY29tcGxldGlvbiJ9";
        let proof: Value = serde_json::from_slice(&STANDARD.decode(header).unwrap()).unwrap();
        let mut challenges = Challenges::default();
        let mut wrong = |proof: &Value, path: &str, token: &str, late_ms: u64| {
            let given = Challenge {
                token: "t".to_owned(),
                target_path: super::super::paths::COMPLETION.to_owned(),
                challenge: "94e422f2ac55677000b92e561bb1a10da1a7fad54af93fa4706e4c1fa06eba5c"
                    .to_owned(),
                salt: "9fa6d396e71f769c77ee".to_owned(),
                expire_at: 1_771_229_508_176,
            };
            let signature = proof["signature"].as_str().unwrap().to_owned();
            challenges.given.insert(signature, given);
            let now_ms = 1_771_229_508_175 + late_ms;
            let call = &mut Call::default();
            let said = challenges.wrong(proof, path, token, now_ms, call);
            assert!(challenges.given.is_empty(), "used up");
            said.unwrap_or_default()
        };
        let path = super::super::paths::COMPLETION;
        assert_eq!(wrong(&proof, path, "t", 0), "");
        assert!(wrong(&proof, path, "t", 1).contains("expired"));
        assert!(wrong(&proof, path, "u", 0).contains("another token"));
        assert!(wrong(&proof, super::super::paths::UPLOAD, "t", 0).contains("another path"));
        for (answer, what) in [
            (json!(22_534), "is wrong"),
            (json!(144_000), "below the difficulty"),
            (json!(22533.0), "no integer"),
            (json!("22533"), "no integer"),
        ] {
            let mut proof = proof.clone();
            proof["answer"] = answer;
            assert!(wrong(&proof, path, "t", 0).contains(what), "{what}");
        }
    }
}
