//! The work itself.

use common::model::Kind;
use sha2::{Digest, Sha256};

/// The result for one item.
pub fn result(kind: Kind, input: &str) -> String {
    match kind {
        Kind::Digest => format!("{:x}", Sha256::digest(input)),
        Kind::Heartbeat => input.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_the_sha_256_in_hexadecimal() {
        assert_eq!(
            result(Kind::Digest, "abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn a_heartbeat_stays_as_it_is() {
        assert_eq!(result(Kind::Heartbeat, "0.5"), "0.5");
    }
}
