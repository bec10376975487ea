//! RSA signatures where the runtime has none: SHA-256, the padding of PKCS #1 v1.5, a key in PKCS #8.
//!
//! Small, for it is only there to be given a token once an hour. What is done does not depend on the bits of the
//! key, only on its length, and a signature that does not verify is never given away: one made by a faulty
//! machine would tell the key.

use sha2::{Digest as _, Sha256};

/// Signs; `None` where the key is no RSA key.
pub(crate) fn sign(pkcs8: &[u8], message: &[u8]) -> Option<Vec<u8>> {
    let Key { modulus, public, private } = key(pkcs8)?;
    let bytes = modulus.len();
    if bytes > MAX_BYTES || private.len() > bytes || public.len() > bytes {
        return None;
    }
    let field = Field::new(modulus)?;
    let padded = field.number(&padded(message, bytes)?);
    let signature = field.power(&padded, private);
    (field.power(&signature, public) == padded).then(|| {
        let digits = signature.iter().rev().flat_map(|limb| limb.to_be_bytes());
        digits.skip(signature.len() * 4 - bytes).collect()
    })
}

/// Numbers below an odd modulus, in limbs of 32 bits, the lowest first.
struct Field {
    modulus: Vec<u32>,
    /// What makes the lowest limb of a multiple of the modulus vanish: `-1 / modulus`.
    inverse: u32,
    /// The square of the factor that numbers carry while they are multiplied, after Montgomery.
    square: Vec<u32>,
}

impl Field {
    fn new(modulus: &[u8]) -> Option<Self> {
        let limbs = modulus.len().div_ceil(4);
        let mut field = Self { modulus: vec![0; limbs], inverse: 0, square: Vec::new() };
        field.modulus = field.number(modulus);
        let lowest = *field.modulus.first().filter(|lowest| *lowest % 2 == 1)?;
        // Each step doubles the number of bits that are right.
        let mut inverse = lowest;
        for _ in 0..5 {
            inverse = inverse.wrapping_mul(2_u32.wrapping_sub(lowest.wrapping_mul(inverse)));
        }
        field.inverse = inverse.wrapping_neg();
        let mut square = vec![0; limbs];
        square[0] = 1;
        for _ in 0..limbs * 64 {
            let carry = square[limbs - 1] >> 31;
            let doubled: Vec<u32> = (0..limbs)
                .map(|at| square[at] << 1 | if at == 0 { 0 } else { square[at - 1] >> 31 })
                .collect();
            square = field.below(doubled, carry);
        }
        field.square = square;
        Some(field)
    }

    /// A number in limbs, as many as the modulus has.
    fn number(&self, bytes: &[u8]) -> Vec<u32> {
        let mut limbs = vec![0; self.modulus.len()];
        for (at, byte) in bytes.iter().rev().enumerate() {
            limbs[at / 4] |= u32::from(*byte) << (at % 4 * 8);
        }
        limbs
    }

    /// Takes the modulus off once, if the number with this carry above it is not below it.
    fn below(&self, number: Vec<u32>, carry: u32) -> Vec<u32> {
        let mut borrow = 0;
        let reduced: Vec<u32> = number
            .iter()
            .zip(&self.modulus)
            .map(|(limb, modulus)| {
                let (limb, first) = limb.overflowing_sub(*modulus);
                let (limb, second) = limb.overflowing_sub(borrow);
                borrow = u32::from(first | second);
                limb
            })
            .collect();
        // All ones where the difference is not negative.
        let mask = (1 - (borrow & (1 - carry))).wrapping_neg();
        number.iter().zip(reduced).map(|(old, new)| (new & mask) | (old & !mask)).collect()
    }

    /// The product of two numbers, less a factor.
    fn multiply(&self, left: &[u32], right: &[u32]) -> Vec<u32> {
        let limbs = self.modulus.len();
        let mut sum = vec![0_u32; limbs + 2];
        for digit in left {
            let add = |digit: u32, number: &[u32], sum: &mut [u32]| {
                let mut carry = 0;
                for (place, limb) in sum.iter_mut().zip(number) {
                    let all = u64::from(*place) + u64::from(digit) * u64::from(*limb) + carry;
                    *place = all as u32;
                    carry = all >> 32;
                }
                let all = u64::from(sum[limbs]) + carry;
                sum[limbs] = all as u32;
                sum[limbs + 1] += (all >> 32) as u32;
            };
            add(*digit, right, &mut sum);
            add(sum[0].wrapping_mul(self.inverse), &self.modulus, &mut sum);
            sum.remove(0);
            sum.push(0);
        }
        let carry = sum[limbs];
        sum.truncate(limbs);
        self.below(sum, carry)
    }

    fn power(&self, base: &[u32], exponent: &[u8]) -> Vec<u32> {
        let mut one = vec![0; self.modulus.len()];
        one[0] = 1;
        let base = self.multiply(base, &self.square);
        let mut power = self.multiply(&one, &self.square);
        for bit in exponent.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)) {
            power = self.multiply(&power, &power);
            let with = self.multiply(&power, &base);
            let mask = u32::from(bit).wrapping_neg();
            for (limb, with) in power.iter_mut().zip(with) {
                *limb = (with & mask) | (*limb & !mask);
            }
        }
        self.multiply(&power, &one)
    }
}

/// `00 01 ff … ff 00`, then the hash and what it is.
fn padded(message: &[u8], bytes: usize) -> Option<Vec<u8>> {
    let filling = bytes.checked_sub(3 + DIGEST_INFO.len() + 32)?;
    // PKCS #1 asks for eight at least.
    if filling < 8 {
        return None;
    }
    let mut padded = vec![0, 1];
    padded.resize(2 + filling, 0xff);
    padded.push(0);
    padded.extend_from_slice(&DIGEST_INFO);
    padded.extend_from_slice(&Sha256::digest(message));
    Some(padded)
}

struct Key<'a> {
    modulus: &'a [u8],
    public: &'a [u8],
    private: &'a [u8],
}

fn key(pkcs8: &[u8]) -> Option<Key<'_>> {
    let (mut info, _) = value(pkcs8, SEQUENCE)?;
    (_, info) = value(info, INTEGER)?;
    let (algorithm, rest) = value(info, SEQUENCE)?;
    if !algorithm.starts_with(&RSA) {
        return None;
    }
    let (key, _) = value(rest, OCTETS)?;
    let (key, _) = value(key, SEQUENCE)?;
    let (_, rest) = value(key, INTEGER)?;
    let (modulus, rest) = value(rest, INTEGER)?;
    let (public, rest) = value(rest, INTEGER)?;
    let (private, _) = value(rest, INTEGER)?;
    Some(Key { modulus: unsigned(modulus), public: unsigned(public), private: unsigned(private) })
}

/// A number without the zero that says that it is not negative.
fn unsigned(number: &[u8]) -> &[u8] {
    number.strip_prefix(&[0]).unwrap_or(number)
}

/// The content of the value `der` begins with, which has this tag, and what follows it.
fn value(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, rest) = der.split_first()?;
    let (length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(*length), rest),
        0x81..=0x83 => {
            let (digits, rest) = rest.split_at_checked(usize::from(length - 0x80))?;
            (digits.iter().fold(0, |all, digit| all << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    if *found != tag {
        return None;
    }
    rest.split_at_checked(length)
}

/// Of the longest modulus there is any use for.
const MAX_BYTES: usize = 1024;

const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const SEQUENCE: u8 = 0x30;

/// The name of `rsaEncryption`.
const RSA: [u8; 11] = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];

/// What says that a hash is of SHA-256.
const DIGEST_INFO: [u8; 19] = [
    0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00,
    0x04, 0x20,
];

#[cfg(test)]
mod tests {
    use base64::{Engine as _, prelude::BASE64_STANDARD};

    use super::*;

    fn pkcs8() -> Vec<u8> {
        let account = include_str!("../../../tests/fixtures/keys/service_account.json");
        let account: serde_json::Value = serde_json::from_str(account).expect("JSON");
        let pem = account["private_key"].as_str().expect("a key");
        let lines: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
        BASE64_STANDARD.decode(lines).expect("base64")
    }

    /// Made by `openssl dgst -sha256 -sign`.
    const SIGNED: [(&str, &str); 2] = [
        (
            "",
            "YGE4YWmZOOPie6zDq53s+wPDsow7KBvAOY2FEgKvoMWZQKa6uFjfL+zzv+/kVHgISSLs4LI9dkOCNY0hK2pduq8N6eRrMDAhEM5so095oBHukt7ET3QEibx6dOprXXzQdeApnX+Cp+loL0TSGBGnffTGDdKwm0YwK4AJFcJo0Wbm3ZZDomGEd93rbkKkTC1DnF4sL3HHqmEy9IXmdUEpSdIaExe70ImGichRzSJHyAH58gjCGd/Gsjs31UJ44xiXl6amOhNAeg7oqYvY4so7Npl58pCoYfW8AvbfO+1v3UILex4jSowzrJhZk488S3HEZFh4C7FQXIWOvH5gN3/JPQ==",
        ),
        (
            "eyJhbGciOiJSUzI1NiJ9.e30",
            "MFnJo6jUWITaOZYgcWq+i1dnjWUSpS93u/oBU9zf0ogW4Qxoii64D2ITRfBk13hGn/fh+YW5OoxXl5EbJlAEe/GnHR5c1QRnaCZP2+e5An3BTTP6Q2iQ8gjMMjd362OGVShGWa6ZpK3FP3zNKFl8neTSMf5koqFyJn6ltj+paNrMhVdo42/UG6v0zmSTWLawV0H4XDlsVMfojlYpKSDKtwMEQJycEodcxXqsJXRmBROuoWIQbHrPWi+W6wNK7UHMQNQtAgjFzOg3k89pACNgbUMcfsZ1v9TYZNxcyA2zPsFjfgbAh2VyoDTkannlah0axVp0SyMOGHzMIbiRxfjwcg==",
        ),
    ];

    #[test]
    fn signatures_are_those_of_openssl() {
        for (message, expected) in SIGNED {
            let signature = sign(&pkcs8(), message.as_bytes()).expect("an RSA key");
            assert_eq!(BASE64_STANDARD.encode(signature), expected, "{message}");
        }
    }

    #[test]
    fn what_is_no_key_signs_nothing() {
        let key = pkcs8();
        for cut in 0..600 {
            assert_eq!(sign(&key[..cut], b"a"), None, "{cut}");
        }
        assert_eq!(sign(b"-----BEGIN PRIVATE KEY-----", b"a"), None);
        // A key whose parts do not belong together.
        let mut other = pkcs8();
        other[60] ^= 4;
        assert_eq!(sign(&other, b"a"), None);
    }
}
