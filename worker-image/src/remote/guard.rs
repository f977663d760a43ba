//! Who may give orders over the network: whoever signs them with a key that the pod was made with, for this pod, and with a nonce
//! that this primary gave out shortly before and nobody has used.
//!
//! A nonce says when it was given, by this primary's clock, and carries a code that only this primary can make: so none of those
//! that were given has to be remembered, and asking for many fills nothing. Those that were used in a signed order are, for as long
//! as they could be used again.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use primary_protocol::remote::{hex, signed_text, unhex};
use ring::{hmac, signature};

use crate::machine::Moment;

/// A nonce is good for this long: an operator uses it at once, over the same connection.
const NONCE_TIME: Duration = Duration::from_secs(30);

/// Orders of one key within [`NONCE_TIME`] at the most; an operator gives one in a second or so.
const USED_MAX: usize = 1024;

/// Keys of one pod at the most; two while one follows the other.
pub const KEYS_MAX: usize = 4;

/// A public key of Ed25519.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key([u8; 32]);

impl FromStr for Key {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        unhex(text).map(Self).ok_or_else(|| "give 64 hexadecimal digits: a public key of Ed25519".to_string())
    }
}

/// An order as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The pod that it says it is for.
    pub pod: Option<String>,
    /// The nonce.
    pub nonce: Option<String>,
    /// The signature.
    pub signature: Option<String>,
    /// The order itself.
    pub body: Vec<u8>,
}

/// Why an order is not taken. Its name is the label in the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Refusal {
    /// Nobody may.
    #[error("this primary takes no orders over the network: it was started without --control-keys")]
    NoKeys,
    /// A header is missing.
    #[error(
        "not signed: an order needs the headers workercluster-pod, workercluster-nonce and workercluster-signature"
    )]
    Unsigned,
    /// For another pod.
    #[error("meant for another pod")]
    Foreign,
    /// Not a nonce of this primary.
    #[error("not a nonce of this primary: get one from /v1/nonce")]
    UnknownNonce,
    /// Too old.
    #[error("the nonce is older than {} s: get a fresh one from /v1/nonce", NONCE_TIME.as_secs())]
    Expired,
    /// Not by one of the keys.
    #[error("the signature is not by a key that this pod was made with")]
    WrongSignature,
    /// Used before.
    #[error("the nonce was used before: get a fresh one from /v1/nonce")]
    Replayed,
    /// Too many.
    #[error("more than {USED_MAX} orders within {} s", NONCE_TIME.as_secs())]
    TooMany,
}

impl Refusal {
    /// Every one, with its label.
    pub const ALL: [(Self, &'static str); 8] = [
        (Self::NoKeys, "no_keys"),
        (Self::Unsigned, "unsigned"),
        (Self::Foreign, "foreign"),
        (Self::UnknownNonce, "unknown_nonce"),
        (Self::Expired, "expired"),
        (Self::WrongSignature, "wrong_signature"),
        (Self::Replayed, "replayed"),
        (Self::TooMany, "too_many"),
    ];
}

/// How many orders were refused, by reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusals(BTreeMap<Refusal, u64>);

impl Refusals {
    /// For one reason.
    pub fn of(&self, refusal: Refusal) -> u64 {
        self.0.get(&refusal).copied().unwrap_or_default()
    }

    /// One more.
    pub fn add(&mut self, refusal: Refusal) {
        let count = self.0.entry(refusal).or_default();
        *count = count.saturating_add(1);
    }
}

/// Checks orders.
#[derive(Debug)]
pub struct Guard {
    keys: Vec<Key>,
    pod_uid: String,
    secret: hmac::Key,
    given: u64,
    /// Nonces of orders that were taken, and when they were given.
    used: BTreeMap<String, Moment>,
}

impl Guard {
    /// `secret` is random, and made for this primary alone.
    pub fn new(keys: Vec<Key>, pod_uid: String, secret: [u8; 32]) -> Self {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        Self { keys, pod_uid, secret, given: 0, used: BTreeMap::new() }
    }

    /// A nonce for one order: `TIME.NUMBER.CODE`.
    pub fn nonce(&mut self, now: Moment) -> String {
        self.given = self.given.wrapping_add(1);
        let stem = format!("{}.{}", now.as_millis(), self.given);
        let code = hex(hmac::sign(&self.secret, stem.as_bytes()).as_ref());
        format!("{stem}.{code}")
    }

    /// Whether this order is to be carried out; its nonce is used up then.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&mut self, order: &Signed, now: Moment) -> Result<(), Refusal> {
        if self.keys.is_empty() {
            return Err(Refusal::NoKeys);
        }
        let (Some(pod), Some(nonce), Some(signature)) = (&order.pod, &order.nonce, &order.signature) else {
            return Err(Refusal::Unsigned);
        };
        if *pod != self.pod_uid {
            return Err(Refusal::Foreign);
        }
        let given = self.given_at(nonce).ok_or(Refusal::UnknownNonce)?;
        if now.saturating_sub(given) > NONCE_TIME {
            return Err(Refusal::Expired);
        }
        let signature: [u8; 64] = unhex(signature).ok_or(Refusal::WrongSignature)?;
        let text = signed_text(pod, nonce, &order.body);
        let by = |key: &Key| signature::UnparsedPublicKey::new(&signature::ED25519, key.0).verify(&text, &signature);
        if !self.keys.iter().any(|key| by(key).is_ok()) {
            return Err(Refusal::WrongSignature);
        }
        self.used.retain(|_, given| now.saturating_sub(*given) <= NONCE_TIME);
        if self.used.contains_key(nonce) {
            return Err(Refusal::Replayed);
        }
        if self.used.len() >= USED_MAX {
            return Err(Refusal::TooMany);
        }
        self.used.insert(nonce.clone(), given);
        Ok(())
    }

    /// When this nonce was given, if it was by this primary.
    fn given_at(&self, nonce: &str) -> Option<Moment> {
        let (stem, code) = nonce.rsplit_once('.')?;
        let code: [u8; 32] = unhex(code)?;
        hmac::verify(&self.secret, stem.as_bytes(), &code).ok()?;
        // What this primary wrote can be read.
        Some(Duration::from_millis(stem.split_once('.')?.0.parse().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use ring::signature::{Ed25519KeyPair, KeyPair};

    use super::*;

    const NOW: Moment = Duration::from_secs(100);

    fn pair(seed: u8) -> (Ed25519KeyPair, Key) {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        let key = Key(pair.public_key().as_ref().try_into().unwrap());
        (pair, key)
    }

    fn guard(keys: &[Key]) -> Guard {
        Guard::new(keys.to_vec(), "pod-1".into(), [7; 32])
    }

    fn signed(pair: &Ed25519KeyPair, pod: &str, nonce: &str, body: &[u8]) -> Signed {
        let signature = hex(pair.sign(&signed_text(pod, nonce, body)).as_ref());
        Signed { pod: Some(pod.into()), nonce: Some(nonce.into()), signature: Some(signature), body: body.to_vec() }
    }

    #[test]
    fn an_order_is_taken_once() {
        let (pair, key) = pair(1);
        let mut guard = guard(&[key]);
        let nonce = guard.nonce(NOW);
        let order = signed(&pair, "pod-1", &nonce, b"{}");
        assert_eq!(guard.check(&order, NOW + NONCE_TIME), Ok(()));
        assert_eq!(guard.check(&order, NOW + NONCE_TIME), Err(Refusal::Replayed));
        assert_eq!(guard.check(&order, NOW + NONCE_TIME + Duration::from_millis(1)), Err(Refusal::Expired));
    }

    #[test]
    fn each_of_two_keys_may() {
        let ((old, old_key), (new, new_key)) = (pair(1), pair(2));
        let mut guard = guard(&[old_key, new_key]);
        for pair in [old, new] {
            let nonce = guard.nonce(NOW);
            assert_eq!(guard.check(&signed(&pair, "pod-1", &nonce, b"x"), NOW), Ok(()));
        }
    }

    #[test]
    fn nothing_else_is_taken() {
        let ((pair, key), (stranger, _)) = (pair(1), pair(2));
        let mut guard = guard(&[key]);
        let nonce = guard.nonce(NOW);
        let good = signed(&pair, "pod-1", &nonce, b"{}");
        let other_nonce = Guard::new(vec![key], "pod-1".into(), [8; 32]).nonce(NOW);
        let later = format!("{}{}", "1", nonce); // another time, with the code of this one
        let cases = [
            (Signed { pod: None, ..good.clone() }, Refusal::Unsigned),
            (Signed { nonce: None, ..good.clone() }, Refusal::Unsigned),
            (Signed { signature: None, ..good.clone() }, Refusal::Unsigned),
            (signed(&pair, "pod-2", &nonce, b"{}"), Refusal::Foreign),
            (Signed { pod: Some("pod-1".into()), ..signed(&pair, "pod-2", &nonce, b"{}") }, Refusal::WrongSignature),
            (signed(&pair, "pod-1", &other_nonce, b"{}"), Refusal::UnknownNonce),
            (signed(&pair, "pod-1", &later, b"{}"), Refusal::UnknownNonce),
            (signed(&pair, "pod-1", "", b"{}"), Refusal::UnknownNonce),
            (signed(&stranger, "pod-1", &nonce, b"{}"), Refusal::WrongSignature),
            (Signed { body: b"{ }".to_vec(), ..good.clone() }, Refusal::WrongSignature),
            (Signed { signature: Some("00".repeat(64)), ..good.clone() }, Refusal::WrongSignature),
            (Signed { signature: Some("x".into()), ..good.clone() }, Refusal::WrongSignature),
        ];
        for (order, refusal) in cases {
            assert_eq!(guard.check(&order, NOW), Err(refusal), "{order:?}");
        }
        assert_eq!(guard.check(&good, NOW), Ok(()), "none of these used the nonce up");
        assert_eq!(self::guard(&[]).check(&good, NOW), Err(Refusal::NoKeys));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_forgotten_in_time() {
        let (pair, key) = pair(1);
        let mut guard = guard(&[key]);
        let order = |guard: &mut Guard, now| {
            let nonce = guard.nonce(now);
            guard.check(&signed(&pair, "pod-1", &nonce, b""), now)
        };
        for _ in 0..USED_MAX {
            assert_eq!(order(&mut guard, NOW), Ok(()));
        }
        assert_eq!(order(&mut guard, NOW), Err(Refusal::TooMany));
        assert_eq!(order(&mut guard, NOW + NONCE_TIME * 2), Ok(()));
        assert_eq!(guard.used.len(), 1);
    }

    #[test]
    fn a_key_is_read_whole_or_not_at_all() {
        assert_eq!("0f".repeat(32).parse(), Ok(Key([15; 32])));
        for text in ["", "0f", &"0f".repeat(33), &"0g".repeat(32)] {
            assert!(text.parse::<Key>().is_err_and(|why| why.contains("64 hexadecimal digits")), "{text}");
        }
    }
}
