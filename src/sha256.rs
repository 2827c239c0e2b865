//! SHA-256 (FIPS 180-4) from a state on: what is hashed first is the same every time, and is hashed once.
//!
//! By hand, because a streaming hasher buffers the pieces one by one, which takes as long as the hash itself.

use std::slice;

use sha2::block_api::compress256;

pub(crate) const BLOCK: usize = 64;
/// What fits into the last block beside its padding (section 5.1.1).
pub(crate) const ROOM: usize = BLOCK - 9;

/// The state before anything was hashed (section 5.3.3).
const START: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// The state after a first block. Nothing of the block is copied: it may be made of a secret.
pub(crate) fn after(first: &[u8; BLOCK]) -> [u32; 8] {
    let mut state = START;
    compress256(&mut state, slice::from_ref(first));
    state
}

/// The hash of a first block that led to `state`, and then this text.
pub(crate) fn finish(mut state: [u32; 8], text: &[u8]) -> [u32; 8] {
    let (blocks, rest) = text.as_chunks::<BLOCK>();
    compress256(&mut state, blocks);
    let mut last = [0; BLOCK];
    last[..rest.len()].copy_from_slice(rest);
    if rest.len() <= ROOM {
        return finish_block(state, &mut last, rest.len(), text.len());
    }
    last[rest.len()] = 0x80;
    let mut more = [0; BLOCK];
    more[ROOM + 1..].copy_from_slice(&bits(text.len()));
    compress256(&mut state, &[last, more]);
    state
}

/// The same for a text of which `length` bytes are in all, and the last `used`, at most [`ROOM`], at the start of this
/// block of zeros; `state` is the one after those before them. The block is filled where it is: every
/// warm check comes by here, and a move would be one more copy.
#[inline]
pub(crate) fn finish_block(mut state: [u32; 8], last: &mut [u8; BLOCK], used: usize, length: usize) -> [u32; 8] {
    last[used] = 0x80;
    last[ROOM + 1..].copy_from_slice(&bits(length));
    compress256(&mut state, slice::from_ref(last));
    state
}

/// The length of all that was hashed: the first block and the text.
#[inline]
fn bits(length: usize) -> [u8; 8] {
    (8 * (BLOCK + length) as u64).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn it_is_sha_256_for_every_length() {
        let first: [u8; BLOCK] = std::array::from_fn(|i| i as u8);
        for length in 0..=260 {
            let text: Vec<u8> = (0..length).map(|i| (i * 7) as u8).collect();
            let reference = Sha256::new().chain_update(first).chain_update(&text).finalize();
            let hash: Vec<u8> = finish(after(&first), &text)
                .iter()
                .flat_map(|word| word.to_be_bytes())
                .collect();
            assert_eq!(hash, reference.as_slice(), "{length}");
        }
    }
}
