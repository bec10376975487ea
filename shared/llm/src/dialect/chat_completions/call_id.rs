//! Names for tool calls: where a provider gives none, and where another's does not fit.

/// Nine letters and digits, always the same for the same texts.
pub(super) fn made<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    // FNV-1a. The separator keeps ("a", "b") and ("ab", "") apart.
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in texts.into_iter().flat_map(|text| text.bytes().chain([0xff])) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    // Its high bits are the better mixed ones.
    hash ^= hash >> 32;
    (0..9)
        .map(|_| {
            let digit = DIGITS[(hash % 62) as usize];
            hash /= 62;
            char::from(digit)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn it_is_stable_and_of_nine_letters_and_digits() {
        let texts = [vec![], vec![""], vec!["a", "b"], vec!["ab", ""], vec!["toolu_01A"], vec!["toolu_01B"]];
        let names: HashSet<String> = texts.iter().map(|texts| made(texts.iter().copied())).collect();
        assert_eq!(names.len(), texts.len());
        for name in &names {
            assert!(name.len() == 9 && name.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{name}");
        }
        assert_eq!(made(["toolu_01A"]), made(["toolu_01A"]));
    }
}
