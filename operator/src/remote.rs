//! The key that orders to primaries are signed with. New pods are given the public half in their environment; the private half is in a
//! Secret beside the operator, and leaves it never.

use std::{fmt, sync::Arc};

use primary_protocol::remote::{hex, signed_text, unhex};
use ring::{
    rand::{SecureRandom, SystemRandom},
    signature::{Ed25519KeyPair, KeyPair},
};

/// The key of the Secret's data with the seed, in hexadecimal.
pub const SEED: &str = "ed25519-seed";

/// Signs orders. Cheap to clone.
#[derive(Clone)]
pub struct Signer {
    pair: Arc<Ed25519KeyPair>,
    public: Arc<str>,
}

/// What is in the Secret is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key {SEED} must have 64 hexadecimal digits; delete the Secret, and the operator makes a new one")]
pub struct BadSeed;

/// A new seed, as the Secret holds it.
///
/// # Errors
/// Where the system gives no random bytes.
pub fn new_seed() -> Result<String, ring::error::Unspecified> {
    let mut seed = [0_u8; 32];
    SystemRandom::new().fill(&mut seed)?;
    Ok(hex(&seed))
}

// === impl Signer ===

impl Signer {
    /// From a seed as the Secret holds it.
    ///
    /// # Errors
    /// Where it is none.
    pub fn from_seed(seed: &str) -> Result<Self, BadSeed> {
        let seed: [u8; 32] = unhex(seed.trim()).ok_or(BadSeed)?;
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| BadSeed)?;
        let public = hex(pair.public_key().as_ref()).into();
        Ok(Self { pair: Arc::new(pair), public })
    }

    /// The public key, as primaries are given it.
    pub fn public_key(&self) -> Arc<str> {
        self.public.clone()
    }

    /// The signature of an order for one pod and one nonce.
    pub fn sign(&self, pod_uid: &str, nonce: &str, body: &[u8]) -> String {
        hex(self.pair.sign(&signed_text(pod_uid, nonce, body)).as_ref())
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Signer").field("public", &self.public).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use ring::signature::{ED25519, UnparsedPublicKey};

    use super::*;

    #[test]
    fn what_it_signs_can_be_checked_with_the_public_half() {
        let signer = Signer::from_seed(&new_seed().unwrap()).unwrap();
        let public: [u8; 32] = unhex(&signer.public_key()).unwrap();
        let signature: [u8; 64] = unhex(&signer.sign("uid", "nonce", b"{}")).unwrap();
        let key = UnparsedPublicKey::new(&ED25519, public);
        assert!(key.verify(&signed_text("uid", "nonce", b"{}"), &signature).is_ok());
        assert!(key.verify(&signed_text("uid", "nonce", b"{ }"), &signature).is_err());
    }

    #[test]
    fn a_seed_is_read_whole_and_never_shown() {
        let seed = "07".repeat(32);
        let signer = Signer::from_seed(&format!("{seed}\n")).unwrap();
        assert_eq!(signer.public_key(), Signer::from_seed(&seed).unwrap().public_key(), "the same at every start");
        assert!(!format!("{signer:?}").contains(&seed));
        for seed in ["", "07", &"0g".repeat(32)] {
            assert_eq!(Signer::from_seed(seed).unwrap_err(), BadSeed);
        }
    }
}
