//! Keys that are one of a few words. Pure.

use serde::Serialize;
use serde_json::json;

use super::code::Code;
use super::file::{Findings, Path, closest, string};
use super::kinds::{Defs, Kind, refer};

/// `Name, "what it is called", Code { Variant = "word", … }`: an enum whose variants a config spells as these
/// words.
macro_rules! choices {
    (
        $(#[$about:meta])*
        $Name:ident, $noun:literal, $code:ident { $( $(#[$of_variant:meta])* $Variant:ident = $word:literal, )+ }
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
        pub enum $Name {
            $( $(#[$of_variant])* #[serde(rename = $word)] $Variant, )+
        }

        impl $Name {
            pub const ALL: &[$Name] = &[$($Name::$Variant),+];

            /// As a config writes it, and Kubernetes where it knows the word.
            pub fn as_str(self) -> &'static str {
                match self {
                    $($Name::$Variant => $word),+
                }
            }
        }

        impl Kind for $Name {
            type Value = $Name;

            fn schema(defs: &mut Defs) -> serde_json::Value {
                refer(defs, stringify!($Name), json!({"enum": [$($word),+], "type": "string"}))
            }

            fn read(value: &figment::value::Value, path: &Path, findings: &mut Findings) -> Option<$Name> {
                let text = string(value, path, findings)?;
                let found = $Name::ALL.iter().copied().find(|known| known.as_str() == text);
                if found.is_none() {
                    unknown($noun, Code::$code, text, &[$($word),+], path, findings);
                }
                found
            }
        }
    };
}

fn unknown(noun: &str, code: Code, text: &str, words: &[&str], path: &Path, findings: &mut Findings) {
    findings.error(code, path, format!("unknown {noun} {text:?}"), meant(text, words));
}

/// What may be written instead of `text`.
pub fn meant(text: &str, words: &[&str]) -> String {
    match (closest(text, words.iter().copied()), words) {
        (Some(known), _) => format!("did you mean {known:?}?"),
        (None, [others @ .., last]) => {
            let others: Vec<String> = others.iter().map(|word| format!("{word:?}")).collect();
            format!("use {} or {last:?}", others.join(", "))
        }
        (None, []) => String::new(),
    }
}

choices! {
    PullPolicy, "pull policy", BadPullPolicy {
        IfNotPresent = "IfNotPresent",
        Always = "Always",
    }
}

choices! {
    /// What becomes of a run that falls due while the group's last one is still going.
    Overlap, "overlap", BadOverlap {
        /// It is left out, and counted.
        Skip = "skip",
        /// It begins when that one ends.
        Wait = "wait",
    }
}

choices! {
    TolerationOperator, "operator", BadToleration {
        Exists = "Exists",
        Equal = "Equal",
    }
}

choices! {
    TaintEffect, "effect", BadToleration {
        NoSchedule = "NoSchedule",
        PreferNoSchedule = "PreferNoSchedule",
        NoExecute = "NoExecute",
    }
}
