//! Tokens that a row's requests bring, and what a token costs that was never seen before.

use std::hint::black_box;
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use auth::jwt::{KeySet, Signed};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{self, EcdsaKeyPair, KeyPair, ParsedPublicKey, RsaKeyPair};
use aws_lc_rs::{hmac, rsa};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::{Outcome, people};

/// Credentials that requests bring.
#[derive(Clone, Copy)]
pub(crate) enum Bearer {
    /// A word, so that an auth service has something to look at.
    Word,
    Hs256,
    Rs256,
    Es256,
    /// An API key of a store with a million of them.
    ApiKey,
    /// A session of that store.
    Session,
}

impl Bearer {
    /// The field; `files` is the folder that has the store.
    pub(crate) fn field(self, files: &str) -> Outcome<String> {
        let token = match self {
            Self::ApiKey => people::of(files)?.keys.first().ok_or("no key")?.clone(),
            Self::Session => return Ok(format!("Cookie: __Host-session={}", people::of(files)?.session)),
            Self::Word => "bench".to_owned(),
            Self::Hs256 => ISSUER.hs256("user")?,
            Self::Rs256 => ISSUER.rs256("user")?,
            Self::Es256 => ISSUER.es256("user")?,
        };
        Ok(format!("Authorization: Bearer {token}"))
    }
}

/// The keys of all tokens, as a JSON Web Key Set.
pub(crate) fn keys() -> Outcome<String> {
    let public = ISSUER.rsa()?.public_key().as_ref();
    // PKCS #1: a sequence of two numbers, the first of them of 2048 bits with a zero in front.
    let n = URL_SAFE_NO_PAD.encode(public.get(9..265).ok_or("an RSA key of another length")?);
    let (x, y) = ISSUER.point()?;
    Ok(format!(
        r#"{{"keys":[{{"kty":"oct","kid":"hs","alg":"HS256","k":"{}"}},
{{"kty":"RSA","kid":"rs","alg":"RS256","n":"{n}","e":"AQAB"}},
{{"kty":"EC","kid":"es","crv":"P-256","x":"{x}","y":"{y}"}}]}}"#,
        URL_SAFE_NO_PAD.encode(SECRET)
    ))
}

const SECRET: [u8; 32] = [7; 32];

static ISSUER: LazyLock<Issuer> = LazyLock::new(|| Issuer {
    rsa: RsaKeyPair::generate(rsa::KeySize::Rsa2048).ok(),
    ec: EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_FIXED_SIGNING).ok(),
    random: SystemRandom::new(),
});

/// Who signs.
struct Issuer {
    rsa: Option<RsaKeyPair>,
    ec: Option<EcdsaKeyPair>,
    random: SystemRandom,
}

impl Issuer {
    fn rsa(&self) -> Outcome<&RsaKeyPair> {
        self.rsa.as_ref().ok_or_else(|| "no RSA key could be made".into())
    }

    fn ec(&self) -> Outcome<&EcdsaKeyPair> {
        self.ec.as_ref().ok_or_else(|| "no key on P-256 could be made".into())
    }

    fn point(&self) -> Outcome<(String, String)> {
        let point = self.ec()?.public_key().as_ref().get(1..).unwrap_or_default();
        let (x, y) = point.split_at(point.len() / 2);
        Ok((URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y)))
    }

    fn hs256(&self, user: &str) -> Outcome<String> {
        let text = unsigned("HS256", "hs", user);
        let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &SECRET), text.as_bytes());
        Ok(signed(&text, signature.as_ref()))
    }

    fn rs256(&self, user: &str) -> Outcome<String> {
        let (text, pair) = (unsigned("RS256", "rs", user), self.rsa()?);
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(&signature::RSA_PKCS1_SHA256, &self.random, text.as_bytes(), &mut signature)
            .map_err(|_| "RSA does not sign")?;
        Ok(signed(&text, &signature))
    }

    fn es256(&self, user: &str) -> Outcome<String> {
        let text = unsigned("ES256", "es", user);
        let signature = self.ec()?.sign(&self.random, text.as_bytes()).map_err(|_| "ECDSA does not sign")?;
        Ok(signed(&text, signature.as_ref()))
    }
}

/// Header and claims as an issuer writes them, with about 300 bytes of claims.
fn unsigned(alg: &str, key: &str, user: &str) -> String {
    let header = format!(r#"{{"alg":"{alg}","typ":"JWT","kid":"{key}"}}"#);
    let claims = format!(
        r#"{{"iss":"https://issuer.example","sub":"{user}","aud":"api","exp":4102444800,"iat":1767225600,"jti":"1f0c9a54-6d5e-4b5c-9c53-0a4f3a8f6a10","scope":"orders:read orders:write","email":"ann@example.com","groups":["staff","admins"]}}"#
    );
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
}

fn signed(text: &str, signature: &[u8]) -> String {
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// Tokens of a round; each is new to who checks it.
const TOKENS: usize = 2000;

/// Tokens between two looks at the clock: so few that most go by without another program in between.
const AT_A_TIME: usize = 10;

/// Prints what a new ES256 token costs, beside the check of its signature alone: medians of a few at a time, in turns.
pub(crate) fn measure(rounds: usize) -> Outcome<()> {
    let sets = [Arc::new(KeySet::parse(keys()?.as_bytes()).map_err(|not| not.why)?)];
    let point = ISSUER.ec()?.public_key().as_ref();
    let key = ParsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point)?;
    let (mut alone, mut whole) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let users = (0..TOKENS).map(|at| format!("user {round} {at}"));
        let tokens = users.map(|user| ISSUER.es256(&user)).collect::<Outcome<Vec<String>>>()?;
        let parts = tokens.iter().map(|token| {
            let (text, signature) = token.rsplit_once('.').ok_or("no token")?;
            Ok((text.as_bytes(), URL_SAFE_NO_PAD.decode(signature)?))
        });
        let parts = parts.collect::<Outcome<Vec<(&[u8], Vec<u8>)>>>()?;
        for (at, (parts, tokens)) in parts.chunks(AT_A_TIME).zip(tokens.chunks(AT_A_TIME)).enumerate() {
            // Whoever comes first pays for what is not in the processor's caches yet.
            for turn in 0..2 {
                let began = Instant::now();
                let times = if (at + turn) % 2 == 0 {
                    for (text, signature) in parts {
                        black_box(key.verify_sig(text, signature))?;
                    }
                    &mut alone
                } else {
                    for token in tokens {
                        let token = Signed::parse(token.as_bytes()).and_then(|signed| signed.verify(&sets));
                        let token = token.map_err(|refusal| refusal.to_string())?;
                        black_box(token.check_time(1.8e9, 0.0)).map_err(|refusal| refusal.to_string())?;
                    }
                    &mut whole
                };
                times.push(began.elapsed().as_secs_f64() * 1e6 / tokens.len() as f64);
            }
        }
    }
    let (alone, whole) = (crate::table::median(alone), crate::table::median(whole));
    println!("a new ES256 token    {whole:8.2} us");
    println!("its signature alone  {alone:8.2} us");
    println!("the rest             {:8.2} us", whole - alone);
    Ok(())
}
