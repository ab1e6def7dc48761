//! The vectors of the RFCs, tokens that keys of these tests sign, and what has been tried on readers of tokens.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair};
use aws_lc_rs::{encoding, hmac, rsa};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::*;

/// The claims of RFC 7515, A.1 to A.3, and the time at which these end.
const JOE: &str =
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
const JOE_ENDS: f64 = 1_300_819_380.0;

const SECRET: &str = r#"{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}"#;
const RSA: &str = r#"{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}"#;
const P256: &str = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;
const P521: &str = r#"{"kty":"EC","crv":"P-521","x":"AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk","y":"ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2"}"#;
const ED25519: &str = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

const A1: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const A2: &str = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
const A3: &str = "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";

fn set(keys: &[&str]) -> KeySet {
    KeySet::parse(format!("{{\"keys\":[{}]}}", keys.join(",")).as_bytes()).unwrap()
}

fn verify(token: &str, keys: &[&str]) -> Result<Token, Refusal> {
    Signed::parse(token.as_bytes())?.verify(&[std::sync::Arc::new(set(keys))])
}

fn encoded(json: &str) -> String {
    URL_SAFE_NO_PAD.encode(json)
}

fn signed(header: &str, claims: &str, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let text = format!("{}.{}", encoded(header), encoded(claims));
    let signature = URL_SAFE_NO_PAD.encode(sign(text.as_bytes()));
    format!("{text}.{signature}")
}

/// A token that a secret signed, with SHA-256.
fn by_secret(header: &str, claims: &str, secret: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    signed(header, claims, |bytes| hmac::sign(&key, bytes).as_ref().to_vec())
}

fn secret_key(more: &str) -> String {
    format!(r#"{{"kty":"oct","k":"{}"{more}}}"#, URL_SAFE_NO_PAD.encode([7; 32]))
}

#[test]
fn vectors_of_rfc_7515() {
    for (header, signature, key) in [
        ("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9", A1, SECRET),
        ("eyJhbGciOiJSUzI1NiJ9", A2, RSA),
        ("eyJhbGciOiJFUzI1NiJ9", A3, P256),
    ] {
        let token = verify(&format!("{header}.{JOE}.{signature}"), &[key]).unwrap();
        assert_eq!(token.claims["iss"], "joe");
        assert_eq!(token.claims["http://example.com/is_root"], true);
        assert_eq!(token.check_time(JOE_ENDS - 1.0, 0.0), Ok(()));
        // Another key of all kinds beside it changes nothing; without it, none of them fits.
        assert!(verify(&format!("{header}.{JOE}.{signature}"), &[ED25519, SECRET, RSA, P521, P256]).is_ok());
        let others: Vec<&str> = [SECRET, RSA, P256].into_iter().filter(|other| *other != key).collect();
        let refused = verify(&format!("{header}.{JOE}.{signature}"), &others).unwrap_err();
        assert_eq!(refused, Refusal::WrongAlgorithm);
    }
    // A.5: without a signature.
    let unsigned = format!("eyJhbGciOiJub25lIn0.{JOE}.");
    assert_eq!(verify(&unsigned, &[SECRET]).unwrap_err(), Refusal::Unsigned);
}

/// A.4 of RFC 7515 and A.4 of RFC 8037 sign texts that are no claims: the signature is right, and there is no token.
#[test]
fn vectors_of_other_texts() {
    let es512 = "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA.AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn";
    let eddsa = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    for (token, key, algorithm) in [(es512, P521, Algorithm::ES512), (eddsa, ED25519, Algorithm::EdDSA)] {
        assert_eq!(verify(token, &[key]).unwrap_err(), Refusal::Malformed);
        let (text, signature) = token.rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let key = &set(&[key]).keys[0];
        assert!(key.signed(algorithm, text.as_bytes(), &signature));
        assert!(!key.signed(algorithm, &text.as_bytes()[1..], &signature));
    }
}

#[test]
fn every_algorithm_checks_what_its_key_signed() {
    let random = SystemRandom::new();
    let claims = r#"{"sub":"ann"}"#;
    let check = |alg: &str, key: &str, sign: &dyn Fn(&[u8]) -> Vec<u8>| {
        let header = format!(r#"{{"alg":"{alg}"}}"#);
        let token = signed(&header, claims, sign);
        assert_eq!(verify(&token, &[key]).unwrap().claims["sub"], "ann", "{alg}");
        // One bit of the signature, and one of what is signed.
        let (text, signature) = token.rsplit_once('.').unwrap();
        let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
        bytes[7] ^= 1;
        let other = format!("{text}.{}", URL_SAFE_NO_PAD.encode(&bytes));
        assert_eq!(verify(&other, &[key]).unwrap_err(), Refusal::BadSignature, "{alg}");
        let other = format!("{}.{}.{signature}", encoded(&header), encoded(r#"{"sub":"bob"}"#));
        assert_eq!(verify(&other, &[key]).unwrap_err(), Refusal::BadSignature, "{alg}");
        // Cut short, and empty.
        bytes[7] ^= 1;
        for length in [0, 1, bytes.len() / 2, bytes.len() - 1] {
            let other = format!("{text}.{}", URL_SAFE_NO_PAD.encode(&bytes[..length]));
            assert_eq!(verify(&other, &[key]).unwrap_err(), Refusal::BadSignature, "{alg} {length}");
        }
        bytes.push(0);
        let other = format!("{text}.{}", URL_SAFE_NO_PAD.encode(&bytes));
        assert_eq!(verify(&other, &[key]).unwrap_err(), Refusal::BadSignature, "{alg}");
    };
    for (alg, how) in
        [("HS256", hmac::HMAC_SHA256), ("HS384", hmac::HMAC_SHA384), ("HS512", hmac::HMAC_SHA512)]
    {
        let key = hmac::Key::new(how, &[7; 32]);
        check(alg, &secret_key(""), &|bytes| hmac::sign(&key, bytes).as_ref().to_vec());
    }
    let pair = RsaKeyPair::generate(rsa::KeySize::Rsa2048).unwrap();
    let key = rsa_jwk(&pair);
    let ways: [(&str, &'static dyn signature::RsaEncoding); 6] = [
        ("RS256", &signature::RSA_PKCS1_SHA256),
        ("RS384", &signature::RSA_PKCS1_SHA384),
        ("RS512", &signature::RSA_PKCS1_SHA512),
        ("PS256", &signature::RSA_PSS_SHA256),
        ("PS384", &signature::RSA_PSS_SHA384),
        ("PS512", &signature::RSA_PSS_SHA512),
    ];
    for (alg, how) in ways {
        check(alg, &key, &|bytes| {
            let mut signature = vec![0; pair.public_modulus_len()];
            pair.sign(how, &random, bytes, &mut signature).unwrap();
            signature
        });
    }
    for (alg, curve, how) in [
        ("ES256", "P-256", &signature::ECDSA_P256_SHA256_FIXED_SIGNING),
        ("ES384", "P-384", &signature::ECDSA_P384_SHA384_FIXED_SIGNING),
        ("ES512", "P-521", &signature::ECDSA_P521_SHA512_FIXED_SIGNING),
    ] {
        let pair = EcdsaKeyPair::generate(how).unwrap();
        check(alg, &ec_jwk(&pair, curve), &|bytes| pair.sign(&random, bytes).unwrap().as_ref().to_vec());
    }
    let pair = Ed25519KeyPair::generate().unwrap();
    let x = URL_SAFE_NO_PAD.encode(pair.public_key());
    let key = format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}","alg":"EdDSA"}}"#);
    check("EdDSA", &key, &|bytes| pair.sign(bytes).as_ref().to_vec());
}

fn rsa_jwk(pair: &RsaKeyPair) -> String {
    // PKCS #1: a sequence of two numbers, the first of them of 2048 bits with a zero in front.
    let n = URL_SAFE_NO_PAD.encode(&pair.public_key().as_ref()[9..265]);
    let e = URL_SAFE_NO_PAD.encode([1, 0, 1]);
    format!(r#"{{"kty":"RSA","n":"{n}","e":"{e}"}}"#)
}

fn ec_jwk(pair: &EcdsaKeyPair, curve: &str) -> String {
    let point = &pair.public_key().as_ref()[1..];
    let (x, y) = point.split_at(point.len() / 2);
    let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
    format!(r#"{{"kty":"EC","crv":"{curve}","x":"{x}","y":"{y}"}}"#)
}

#[test]
fn a_public_key_is_no_secret() {
    // The text and the DER of a public key, as the secret of an HMAC: known to everybody.
    let pair = RsaKeyPair::generate(rsa::KeySize::Rsa2048).unwrap();
    let der = encoding::AsDer::<encoding::PublicKeyX509Der<'_>>::as_der(pair.public_key()).unwrap();
    let jwk = rsa_jwk(&pair);
    for secret in [der.as_ref(), jwk.as_bytes()] {
        let token = by_secret(r#"{"alg":"HS256"}"#, r#"{"sub":"ann"}"#, secret);
        assert_eq!(verify(&token, &[&jwk]).unwrap_err(), Refusal::WrongAlgorithm);
    }
    let pem = URL_SAFE_NO_PAD.encode("-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----\n");
    let keys = set(&[&format!(r#"{{"kty":"oct","k":"{pem}"}}"#)]);
    assert_eq!(keys.ignored()[0].fault, Fault::PublicSecret);
}

#[test]
fn a_header_does_not_choose_beyond_the_keys() {
    let claims = r#"{"sub":"ann"}"#;
    let key = secret_key(r#","kid":"a","alg":"HS256""#);
    let refused = |header: &str| verify(&by_secret(header, claims, &[7; 32]), &[&key]).err();
    assert_eq!(refused(r#"{"alg":"HS256"}"#), None);
    assert_eq!(refused(r#"{"alg":"HS256","kid":"a","typ":"JWT","jku":"https://x/","x5t":"x"}"#), None);
    for (header, why) in [
        (r#"{"alg":"none"}"#, Refusal::Unsigned),
        (r#"{"alg":"nOnE"}"#, Refusal::Unsigned),
        (r#"{"alg":"hs256"}"#, Refusal::UnknownAlgorithm),
        (r#"{"alg":"HS1"}"#, Refusal::UnknownAlgorithm),
        (r#"{"alg":"ES256K"}"#, Refusal::UnknownAlgorithm),
        (r#"{"alg":["HS256"]}"#, Refusal::Malformed),
        (r#"{}"#, Refusal::Malformed),
        (r#"{"alg":"HS256","alg":"HS256"}"#, Refusal::Malformed),
        (r#"["HS256"]"#, Refusal::Malformed),
        (r#"{"alg":"HS512"}"#, Refusal::WrongAlgorithm),
        (r#"{"alg":"RS256"}"#, Refusal::WrongAlgorithm),
        (r#"{"alg":"HS256","kid":"b"}"#, Refusal::UnknownKey),
        (r#"{"alg":"HS256","kid":""}"#, Refusal::UnknownKey),
        (r#"{"alg":"HS256","kid":1}"#, Refusal::Malformed),
        (r#"{"alg":"HS256","crit":["exp"],"exp":1}"#, Refusal::Critical),
        (r#"{"alg":"HS256","crit":[]}"#, Refusal::Critical),
        (r#"{"alg":"HS256","crit":["b64"],"b64":false}"#, Refusal::Critical),
        (r#"{"alg":"HS256","jwk":{"kty":"oct","k":"AAAA"}}"#, Refusal::EmbeddedKey),
        (r#"{"alg":"HS256","x5c":["AAAA"]}"#, Refusal::EmbeddedKey),
        (r#"{"alg":"dir","enc":"A128GCM"}"#, Refusal::Encrypted),
    ] {
        assert_eq!(refused(header), Some(why), "{header}");
    }
}

#[test]
fn a_key_that_came_with_its_token_signs_nothing() {
    let pair = Ed25519KeyPair::generate().unwrap();
    let x = URL_SAFE_NO_PAD.encode(pair.public_key());
    for header in [
        format!(r#"{{"alg":"EdDSA","jwk":{{"kty":"OKP","crv":"Ed25519","x":"{x}"}}}}"#),
        format!(r#"{{"alg":"EdDSA","jku":"data:,{x}"}}"#),
        format!(r#"{{"alg":"EdDSA","x5u":"data:,{x}"}}"#),
    ] {
        let token = signed(&header, "{}", |bytes| pair.sign(bytes).as_ref().to_vec());
        assert!(verify(&token, &[ED25519]).is_err());
    }
}

#[test]
fn a_signature_of_ecdsa_is_two_numbers_and_not_der() {
    let random = SystemRandom::new();
    let pair = EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
    let token =
        signed(r#"{"alg":"ES256"}"#, "{}", |bytes| pair.sign(&random, bytes).unwrap().as_ref().to_vec());
    assert_eq!(verify(&token, &[&ec_jwk(&pair, "P-256")]).unwrap_err(), Refusal::BadSignature);
    // Zeros, which have been taken for a signature of anything (CVE-2022-21449).
    let zeros = signed(r#"{"alg":"ES256"}"#, "{}", |_| vec![0; 64]);
    assert_eq!(verify(&zeros, &[P256]).unwrap_err(), Refusal::BadSignature);
}

#[test]
fn what_is_no_token() {
    let right = by_secret(r#"{"alg":"HS256"}"#, "{}", &[7; 32]);
    assert!(verify(&right, &[&secret_key("")]).is_ok());
    let parts: Vec<&str> = right.split('.').collect();
    let (header, claims, signature) = (parts[0], parts[1], parts[2]);
    for (token, why) in [
        (String::new(), Refusal::Malformed),
        ("..".to_owned(), Refusal::Malformed),
        (format!("{header}.{claims}"), Refusal::Malformed),
        (format!("{right}."), Refusal::Malformed),
        (format!("{right}.a.b"), Refusal::Encrypted),
        (format!("{right}="), Refusal::Malformed),
        (format!("{right} "), Refusal::Malformed),
        (format!("{header}=.{claims}.{signature}"), Refusal::Malformed),
        (format!(" {header}.{claims}.{signature}"), Refusal::Malformed),
        (
            format!("{header}.{claims}.{}", signature.replace(['-', '_'], "+").replace("+", "/") + "+"),
            Refusal::Malformed,
        ),
        ("a".repeat(MOST_TOKEN + 1), Refusal::TooLong),
    ] {
        assert_eq!(verify(&token, &[&secret_key("")]).unwrap_err(), why, "{token:.80}");
    }
    // The last character of 32 bytes has two bits that mean nothing: they are 0, or it is another text for one token.
    let (start, last) = signature.split_at(signature.len() - 1);
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let next = alphabet.chars().nth(alphabet.find(last).unwrap() + 1).unwrap();
    assert!(verify(&format!("{header}.{claims}.{start}{next}"), &[&secret_key("")]).is_err());
    for claims in [r#"{"a":1,"a":2}"#, "[]", "\"x\"", "", "{", r#"{"n":123456789012345678901234567890}"#] {
        let token = by_secret(r#"{"alg":"HS256"}"#, claims, &[7; 32]);
        assert_eq!(verify(&token, &[&secret_key("")]).unwrap_err(), Refusal::Malformed, "{claims}");
    }
}

#[test]
fn time_is_looked_at_with_leeway() {
    let token = |claims: &str| verify(&by_secret(r#"{"alg":"HS256"}"#, claims, &[7; 32]), &[&secret_key("")]);
    let until = token(r#"{"exp":100}"#).unwrap();
    assert_eq!(until.check_time(99.9, 0.0), Ok(()));
    assert_eq!(until.check_time(100.0, 0.0), Err(Refusal::Expired));
    assert_eq!(until.check_time(109.9, 10.0), Ok(()));
    assert_eq!(until.check_time(110.0, 10.0), Err(Refusal::Expired));
    let from = token(r#"{"nbf":100.5}"#).unwrap();
    assert_eq!(from.check_time(100.4, 0.0), Err(Refusal::NotYetValid));
    assert_eq!(from.check_time(100.5, 0.0), Ok(()));
    assert_eq!(from.check_time(90.5, 10.0), Ok(()));
    assert_eq!(token("{}").unwrap().check_time(1e10, 0.0), Ok(()));
    assert_eq!(token(r#"{"exp":-1}"#).unwrap().check_time(0.0, 0.0), Err(Refusal::Expired));
    for claims in [r#"{"exp":"9999999999"}"#, r#"{"exp":null}"#, r#"{"nbf":[1]}"#, r#"{"exp":true}"#] {
        assert_eq!(token(claims).unwrap_err(), Refusal::BadTime, "{claims}");
    }
}

#[test]
fn keys_of_a_set_that_are_not_used() {
    let fault = |key: &str| set(&[key]).ignored().first().map(|ignored| ignored.fault);
    let weak = {
        let mut n = vec![0xff; 128];
        n[127] = 1;
        format!(r#"{{"kty":"RSA","n":"{}","e":"AQAB"}}"#, URL_SAFE_NO_PAD.encode(n))
    };
    let off_curve = P256.replace("x_FE", "x_FF");
    let of_other_curve = P256.replace("P-256", "P-384");
    for (key, why) in [
        (&*weak, Fault::RsaSize),
        (&off_curve, Fault::NotOnCurve),
        (&of_other_curve, Fault::BadMember("x")),
        (r#"{"kty":"oct"}"#, Fault::BadMember("k")),
        (r#"{"kty":"oct","k":""}"#, Fault::EmptySecret),
        (r#"{"kty":"oct","k":"a b"}"#, Fault::BadMember("k")),
        (r#"{"kty":"oct","k":"AAAA","k":"BBBB"}"#, Fault::NotAKey),
        (r#"{"kty":"EC","crv":"secp256k1","x":"AA","y":"AA"}"#, Fault::Unknown),
        (r#"{"kty":"OKP","crv":"Ed448","x":"AA"}"#, Fault::Unknown),
        (r#"{"kty":"OKP","crv":"Ed25519","x":"AA"}"#, Fault::BadMember("x")),
        (r#"{"kty":"AKP","alg":"ML-DSA-44"}"#, Fault::Unknown),
        (r#"{"kty":"AKP"}"#, Fault::Unknown),
        (r#"{"kty":1}"#, Fault::BadMember("kty")),
        ("[]", Fault::NotAKey),
        ("7", Fault::NotAKey),
    ] {
        assert_eq!(fault(key), Some(why), "{key:.60}");
    }
    for (more, why) in [
        (r#","use":"enc""#, Some(Fault::OtherUse)),
        (r#","key_ops":["sign"]"#, Some(Fault::OtherUse)),
        (r#","key_ops":"verify""#, Some(Fault::BadMember("key_ops"))),
        (r#","alg":"RS256""#, Some(Fault::WrongAlgorithm)),
        (r#","alg":"A128KW""#, Some(Fault::Unknown)),
        (r#","kid":1"#, Some(Fault::BadMember("kid"))),
        (r#","use":"sig","key_ops":["sign","verify"],"alg":"HS384","kid":"a""#, None),
    ] {
        assert_eq!(fault(&secret_key(more)), why, "{more}");
    }
    assert_eq!(fault(&P521.replace("}", r#","alg":"ES256"}"#)), Some(Fault::WrongAlgorithm));
    // A zero in front is no larger number.
    let n = RSA.split('"').nth(7).unwrap();
    let mut zero = vec![0];
    zero.extend(URL_SAFE_NO_PAD.decode(n).unwrap());
    assert_eq!(fault(&RSA.replace(n, &URL_SAFE_NO_PAD.encode(zero))), None);
}

#[test]
fn texts_of_sets() {
    let text = format!("{{\n\"keys\": [\n  {SECRET},\n\n  {{\"kty\":\"oct\"}}\n]}}");
    let keys = KeySet::parse(text.as_bytes()).unwrap();
    assert_eq!(keys.len(), 1);
    assert_eq!(keys.ignored()[0].place, Place { line: 5, number: 2 });
    assert_eq!(KeySet::parse(RSA.as_bytes()).unwrap().len(), 1);
    assert!(KeySet::parse(br#"{"keys":[]}"#).unwrap().is_empty());
    for (text, line) in [
        ("", 1),
        ("{", 1),
        ("{\n\"keys\": [\n{,}\n]}", 3),
        ("[]", 1),
        (r#"{"keys":7}"#, 1),
        (r#"{"keys":[],"keys":[]}"#, 1),
        ("{}", 1),
        ("\n\n{\"keys\":[]}x", 3),
    ] {
        assert_eq!(KeySet::parse(text.as_bytes()).map(|_| ()).map_err(|not| not.line), Err(line), "{text}");
    }
    assert!(KeySet::parse(b"\xff").is_err());
    let many = vec![SECRET; MOST_KEYS + 1];
    assert!(KeySet::parse(format!("{{\"keys\":[{}]}}", many.join(",")).as_bytes()).is_err());
    assert_ne!(set(&[RSA]).number(), set(&[RSA]).number());
}

#[test]
fn keys_that_are_strange() {
    let private = r#"{"kty":"OKP","crv":"Ed25519","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    let short = format!(r#"{{"kty":"oct","k":"{}","alg":"HS512"}}"#, URL_SAFE_NO_PAD.encode([7; 63]));
    let keys = set(&[ED25519, private, &short, &secret_key("")]);
    assert_eq!(keys.len(), 4);
    assert_eq!(keys.private_parts(), [Place { line: 1, number: 2 }]);
    assert_eq!(keys.short_secrets(), [(Place { line: 1, number: 3 }, 63)]);
}
