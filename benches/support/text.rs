//! Keys of the default format as text.

/// A key of the default format that lacks only its checksum, with it.
pub fn with_checksum(front: &str) -> String {
    let head = front.rfind('_').expect("a key with a prefix") + 1;
    let checksum = crc32fast::hash(&front.as_bytes()[head..]);
    format!("{front}{}", base62(u64::from(checksum), 6))
}

/// The last digits of a number, so many of them.
pub fn base62(mut number: u64, width: usize) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut text = vec![b'0'; width];
    for character in text.iter_mut().rev() {
        *character = DIGITS[(number % 62) as usize];
        number /= 62;
    }
    String::from_utf8(text).expect("ASCII")
}
