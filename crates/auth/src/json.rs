//! JSON that two readers cannot understand differently, and its values as text.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Integers from here on are not the same in every reader of JSON (RFC 7493, 2.2).
const INEXACT: f64 = 9_007_199_254_740_992.0;

/// Reads an object. One with a member twice is none, nor one with a number that cannot be kept as it was written.
pub fn object(bytes: &[u8]) -> Option<Map<String, Value>> {
    // Whether it is UTF-8 is seen once for all of it, which takes less time than string by string.
    let mut reader = serde_json::Deserializer::from_str(str::from_utf8(bytes).ok()?);
    let value = Strict.deserialize(&mut reader).ok()?;
    reader.end().ok()?;
    match value {
        Value::Object(members) => Some(members),
        _ => None,
    }
}

/// The value that names lead to from the top, one inside the other.
pub fn look_up<'j>(members: &'j Map<String, Value>, names: &[impl AsRef<str>]) -> Option<&'j Value> {
    let (first, rest) = names.split_first()?;
    let mut value = members.get(first.as_ref())?;
    for name in rest {
        value = value.as_object()?.get(name.as_ref())?;
    }
    Some(value)
}

/// Appends a value as text: elements of a list with commas between them, an object as JSON. False where it has none, as
/// `null`, or where the text would hold a control character, which could end a line and begin another.
pub fn text(value: &Value, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    match value {
        Value::Null => return false,
        Value::Array(elements) => {
            for (at, element) in elements.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                plain(element, out);
            }
        }
        value => plain(value, out),
    }
    if out.get(start..).is_some_and(|text| text.iter().any(u8::is_ascii_control)) {
        out.truncate(start);
        return false;
    }
    true
}

fn plain(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::String(text) => out.extend_from_slice(text.as_bytes()),
        // JSON escapes control characters.
        value => out.extend_from_slice(value.to_string().as_bytes()),
    }
}

/// Makes a value of JSON, member by member.
struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(Strict)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        let number = Number::from_f64(value).filter(|_| value.abs() < INEXACT);
        number.map(Value::Number).ok_or_else(|| E::custom("a number that is not kept exactly"))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = list.next_element_seed(Strict)? {
            elements.push(element);
        }
        Ok(Value::Array(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(name) = object.next_key::<String>()? {
            let value = object.next_value_seed(Strict)?;
            if members.insert(name, value).is_some() {
                return Err(de::Error::custom("a member that is there twice"));
            }
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_two_readers_understand_differently_is_no_object() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":{"b":1,"b":2}}"#,
            r#"{"a":[{"b":1,"\u0062":2}]}"#,
            r#"{"a":123456789012345678901}"#,
            r#"{"a":1e400}"#,
            r#"{"a":1}x"#,
            "[]",
            "{\"a\":\"\n\"}",
            "",
        ] {
            assert_eq!(object(text.as_bytes()), None, "{text}");
        }
        assert_eq!(object(b"{\"a\":\"\xff\"}"), None);
        assert_eq!(object("[".repeat(100_000).as_bytes()), None);
        assert!(object(br#" {"a":18446744073709551615,"b":-1.5,"c":[null,true]} "#).is_some());
    }

    fn text_of(json: &str, names: &[&str]) -> Option<String> {
        let members = object(json.as_bytes()).unwrap();
        let mut out = b"before ".to_vec();
        let found = look_up(&members, names).is_some_and(|value| text(value, &mut out));
        let out = String::from_utf8(out).unwrap();
        assert!(found || out == "before ");
        found.then(|| out.strip_prefix("before ").unwrap().to_owned())
    }

    #[test]
    fn values_are_text() {
        let json = r#"{"s":"a b","n":17,"f":1.5,"t":true,"z":null,"l":["a",1,false,["x"],{"k":"\n"}],"e":[],
            "o":{"in ner":{"x":"y"},"x":"z"},"a.b":"dot"}"#;
        for (names, text) in [
            (&["s"][..], "a b"),
            (&["n"], "17"),
            (&["f"], "1.5"),
            (&["t"], "true"),
            (&["l"], r#"a,1,false,["x"],{"k":"\n"}"#),
            (&["e"], ""),
            (&["o", "in ner"], r#"{"x":"y"}"#),
            (&["o", "in ner", "x"], "y"),
            (&["a.b"], "dot"),
        ] {
            assert_eq!(text_of(json, names).as_deref(), Some(text), "{names:?}");
        }
        for none in [&["z"][..], &["x"], &["s", "x"], &["l", "0"], &["o", "y"], &[]] {
            assert_eq!(text_of(json, none), None, "{none:?}");
        }
    }

    #[test]
    fn no_text_begins_another_line() {
        for json in [
            r#"{"v":"a\r\nX-Admin: 1"}"#,
            r#"{"v":["a","b\n"]}"#,
            r#"{"v":"\u0000"}"#,
            r#"{"v":"\u007f"}"#,
            r#"{"v":"\t"}"#,
        ] {
            assert_eq!(text_of(json, &["v"]), None, "{json}");
        }
    }
}
