//! Keys of the default format as text.

/// Appends the checksum to a key of the default format.
pub fn with_checksum(front: &str) -> String {
    let head = front.rfind('_').expect("a key with a prefix") + 1;
    let checksum = crc32fast::hash(&front.as_bytes()[head..]);
    format!("{front}{}", base62(u64::from(checksum), 6))
}

/// The last `width` base62 digits of a number.
pub fn base62(mut number: u64, width: usize) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut text = vec![b'0'; width];
    for character in text.iter_mut().rev() {
        *character = DIGITS[(number % 62) as usize];
        number /= 62;
    }
    String::from_utf8(text).expect("ASCII")
}
