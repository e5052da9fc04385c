//! Variations of an input, the same ones for the same number.

/// A small generator of numbers (xorshift64*, Vigna 2016), enough to vary inputs and the same on every machine.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Any seed; zero counts as one.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number below `limit`; 0 where `limit` is 0.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(number).unwrap_or(0) % limit.max(1)
    }
}

/// Bytes that mean something to the formats of this project, put in where they do not belong.
const TOKENS: &[&[u8]] = &[
    b"\n",
    b"\r\n",
    b"\t",
    b" ",
    b"  ",
    b": ",
    b"- ",
    b"#",
    b"\"",
    b"'",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b"|\n",
    b">-\n",
    b"&a ",
    b"*a",
    b"<<: *a",
    b"!!str ",
    b"? ",
    b"---\n",
    b"...\n",
    b"~",
    b"${",
    b"}",
    b"$$",
    b"\xC3\xBC",
    b"\xFF",
    b"\x00",
    b"\xEF\xBB\xBF",
    b"\xE2\x80\xA8",
    b"0",
    b"-1",
    b"99999999999999999999",
    b"%",
    b"\\",
];

/// One to four changes of `input`: bytes flipped, removed, doubled or moved, tokens put in, a piece of `other` put in.
#[must_use]
pub fn mutate(input: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut out = input.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(out.len() + 1);
        match random.below(7) {
            0 if at < out.len() => out[at] ^= 1 << random.below(8),
            1 => {
                let end = (at + 1 + random.below(16)).min(out.len());
                out.drain(at.min(end)..end);
            }
            2 => {
                let end = (at + 1 + random.below(32)).min(out.len());
                let piece = out[at.min(end)..end].to_vec();
                let to = random.below(out.len() + 1);
                out.splice(to..to, piece);
            }
            3 | 4 => {
                let token = TOKENS[random.below(TOKENS.len())];
                out.splice(at..at, token.iter().copied());
            }
            5 => out.truncate(at),
            _ => {
                let start = random.below(other.len() + 1);
                let end = (start + random.below(64)).min(other.len());
                out.splice(at..at, other[start..end].iter().copied());
            }
        }
    }
    out
}
