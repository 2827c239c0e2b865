//! Hexadecimal.

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// The bytes as hexadecimal digits in lower case.
pub(crate) fn encode(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from(DIGITS[usize::from(value & 15)]);
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        text.extend([digit(byte >> 4), digit(*byte)]);
    }
    text
}

/// Exactly `N` bytes from hexadecimal digits in either case. `None` for any other text.
pub(crate) fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = value(*high)? << 4 | value(*low)?;
    }
    Some(bytes)
}

fn value(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_survives_in_either_case() {
        let bytes: [u8; 256] = std::array::from_fn(|byte| byte as u8);
        let text = encode(&bytes);
        assert!(text.starts_with("000102") && text.ends_with("fdfeff"));
        assert_eq!(decode(&text), Some(bytes));
        assert_eq!(decode(&text.to_uppercase()), Some(bytes));
    }

    #[test]
    fn only_exact_hexadecimal_is_decoded() {
        assert_eq!(decode("00ff"), Some([0, 0xff]));
        for bad in [
            "", "0", "00f", "00ff0", "00ff00", "+0ff", "00fg", "00f ", "\u{e9}ff", "0xff",
        ] {
            assert_eq!(decode::<2>(bad), None, "{bad:?}");
        }
    }
}
