//! Small real PNG files, each of another colour, so that one picture can be told from another when it is decoded. Source: PNG
//! specification (W3C), sections 5 and 10; RFC 1950 and 1951 (stored blocks).

/// Width and height.
const SIDE: u32 = 8;

/// The picture behind an address: the same address, the same picture.
pub(super) fn png(address: &str) -> Vec<u8> {
    let colour = crc32(address.as_bytes()).to_be_bytes();
    let (width, row) = (
        SIDE as usize,
        colour.get(1..).unwrap_or_default().repeat(SIDE as usize),
    );
    debug_assert_eq!(row.len(), 3 * width);
    // Each row begins with its filter: none.
    let pixels: Vec<u8> = (0..SIDE)
        .flat_map(|_| [&[0], row.as_slice()].concat())
        .collect();
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    // Eight bits of red, green and blue each, in one pass.
    let head = [
        &SIDE.to_be_bytes()[..],
        &SIDE.to_be_bytes(),
        &[8, 2, 0, 0, 0],
    ]
    .concat();
    chunk(&mut file, b"IHDR", &head);
    chunk(&mut file, b"IDAT", &stored(&pixels));
    chunk(&mut file, b"IEND", &[]);
    file
}

fn chunk(file: &mut Vec<u8>, kind: &[u8; 4], content: &[u8]) {
    let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
    file.extend_from_slice(&length.to_be_bytes());
    let named = [kind, content].concat();
    file.extend_from_slice(&named);
    file.extend_from_slice(&crc32(&named).to_be_bytes());
}

/// A zlib stream of one stored block.
fn stored(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    let head = [0x78, 0x01, 0x01];
    let mut stream = head.to_vec();
    stream.extend_from_slice(&length.to_le_bytes());
    stream.extend_from_slice(&(!length).to_le_bytes());
    stream.extend_from_slice(bytes);
    stream.extend_from_slice(&adler32(bytes).to_be_bytes());
    stream
}

fn adler32(bytes: &[u8]) -> u32 {
    let (a, b) = bytes.iter().fold((1_u32, 0_u32), |(a, b), byte| {
        let a = (a + u32::from(*byte)) % 65521;
        (a, (b + a) % 65521)
    });
    b << 16 | a
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_everybody() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(adler32(b"Wikipedia"), 0x11e6_0398);
    }

    #[test]
    fn each_address_has_its_own_picture() {
        let (one, two) = (png("n=1"), png("n=2"));
        assert_eq!(one, png("n=1"));
        assert_ne!(one, two);
        assert_eq!((one.len(), two.len()), (268, 268));
    }
}
