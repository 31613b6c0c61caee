//! Reads objects that others have written: what does not fit is set aside and named, field by field.
//!
//! The API server takes what fits its own types, which are wider than ours in places and grow with each
//! release. One value that we cannot read must not hide the rest of its object, nor the objects beside it:
//! a list is decoded as a whole.

use std::fmt;

use k8s_openapi::api::coordination::v1::Lease;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_path_to_error::{Path, Segment};

/// So many values are set aside one by one; then with what they stand in.
const SINGLE_FAULTS_MAX: usize = 32;

/// What of an object is skipped while reading, by key: it is large, and nobody here looks at it.
#[derive(Clone, Copy, Debug)]
pub enum Omit {
    Nothing,
    All,
    In(&'static [(&'static str, Omit)]),
}

/// A value that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// As `status.conditions[0].type`.
    pub field: String,
    pub problem: String,
}

/// Something that is read from what somebody else has written.
pub trait Read: From<Self::Wire> {
    /// As it is on the wire. What is missing there has a default.
    type Wire: DeserializeOwned + Default;
    const OMIT: Omit;
}

/// An object, as far as it could be read.
#[derive(Clone, Debug)]
pub struct Decoded<T> {
    pub object: T,
    pub faults: Vec<Fault>,
}

impl<'de, T: Read> Deserialize<'de> for Decoded<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (wire, faults) = fit::<T::Wire>(Kept(&T::OMIT).deserialize(deserializer)?);
        Ok(Decoded { object: wire.into(), faults })
    }
}

/// For `impl Deserialize` of a type whose faults nobody is told of.
pub fn tolerantly<'de, T: Read, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    Decoded::deserialize(deserializer).map(|Decoded { object, .. }| object)
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.problem)
    }
}

/// `value` as a `T`, and what had to be taken out of it for that.
fn fit<T: DeserializeOwned + Default>(mut value: Value) -> (T, Vec<Fault>) {
    let mut faults: Vec<Fault> = Vec::new();
    loop {
        let error = match serde_path_to_error::deserialize::<_, T>(&value) {
            Ok(read) => return (read, faults),
            Err(error) => error,
        };
        let path: Vec<&Segment> = error.path().iter().collect();
        // A mistake in each of thousands of elements is one of their list.
        let depth = match faults.len() / SINGLE_FAULTS_MAX {
            0 => path.len(),
            1 => 2,
            _ => 1,
        };
        let is_removed = remove(&mut value, &path[..depth.min(path.len())]);
        faults.push(Fault { field: text_of(error.path()), problem: error.inner().to_string() });
        if !is_removed || faults.len() >= 4 * SINGLE_FAULTS_MAX {
            return (T::default(), faults);
        }
    }
}

fn text_of(path: &Path) -> String {
    if path.iter().next().is_none() { "the object".to_owned() } else { path.to_string() }
}

/// Takes the value at `path` out, or the innermost that there is on the way; false where that is all of it.
fn remove(value: &mut Value, path: &[&Segment]) -> bool {
    let [first, rest @ ..] = path else { return false };
    match (value, first) {
        (Value::Object(object), Segment::Map { key }) => {
            let Some(inner) = object.get_mut(key) else { return false };
            if !remove(inner, rest) {
                object.remove(key);
            }
            true
        }
        (Value::Array(array), Segment::Seq { index }) => {
            let Some(inner) = array.get_mut(*index) else { return false };
            if !remove(inner, rest) {
                array.remove(*index);
            }
            true
        }
        _ => false,
    }
}

/// What is left of a value without what is omitted, so that nothing large is ever held.
struct Kept<'a>(&'a Omit);

impl<'de> DeserializeSeed<'de> for Kept<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        match self.0 {
            Omit::Nothing => Value::deserialize(deserializer),
            Omit::All => IgnoredAny::deserialize(deserializer).map(|_| Value::Null),
            Omit::In(keys) => deserializer.deserialize_any(KeptOf(keys)),
        }
    }
}

struct KeptOf<'a>(&'a [(&'static str, Omit)]);

impl<'de> Visitor<'de> for KeptOf<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut kept = serde_json::Map::new();
        while let Some(key) = map.next_key::<String>()? {
            match self.0.iter().find(|(name, _)| *name == key) {
                Some((_, Omit::All)) => drop(map.next_value::<IgnoredAny>()?),
                Some((_, omit)) => drop(kept.insert(key, map.next_value_seed(Kept(omit))?)),
                None => drop(kept.insert(key, map.next_value()?)),
            }
        }
        Ok(Value::Object(kept))
    }

    // What is no object cannot be read as one, and its own content does not matter.
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Array(Vec::new()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
}

/// Written by other implementations of leader election too.
impl Read for Lease {
    type Wire = Lease;
    const OMIT: Omit = Omit::Nothing;
}

/// A number of seconds or the like that may be larger than we can count: then it is as large as we can.
pub fn saturating<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let number = Option::<serde_json::Number>::deserialize(deserializer)?;
    Ok(number.map(|number| {
        let negative = number.as_i64().is_some_and(|n| n < 0) || number.as_f64().is_some_and(|n| n < 0.0);
        match number.as_u64().or_else(|| whole(number.as_f64()?)) {
            Some(number) => u32::try_from(number).unwrap_or(u32::MAX),
            None if negative => 0,
            None => u32::MAX,
        }
    }))
}

/// Without its fraction, where it fits.
fn whole(number: f64) -> Option<u64> {
    let fits = (0.0..u64::MAX as f64).contains(&number);
    // `as` truncates and, as of Rust 1.45, never overflows.
    fits.then_some(number as u64)
}

#[cfg(test)]
mod tests;
