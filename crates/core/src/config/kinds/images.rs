//! Image references, and the list of a group's.

use std::collections::BTreeMap;

use figment::value::Value;
use serde_json::json;

use super::{Defs, Kind, Variable};
use crate::config::ImageRef;
use crate::config::code::Code;
use crate::config::file::{Findings, Path, Target, list, string, strings};

/// Enough for every workload of a platform team; more belong into a second group.
pub const IMAGES_MAX: usize = 100;

impl Kind for ImageRef {
    type Value = ImageRef;

    fn read(value: &Value, path: &Path, findings: &mut Findings) -> Option<ImageRef> {
        image(string(value, path, findings)?, path, findings)
    }
}

/// Those that are right; none of them twice.
#[derive(Debug)]
pub struct ImageList;

impl Kind for ImageList {
    type Value = Vec<ImageRef>;
    const VARIABLE: Variable = Variable::List;

    fn schema(_: &mut Defs) -> serde_json::Value {
        json!({"items": {"type": "string"}, "maxItems": IMAGES_MAX, "minItems": 1, "type": "array"})
    }

    fn read(value: &Value, path: &Path, findings: &mut Findings) -> Option<Vec<ImageRef>> {
        let listed = list(value, path, findings)?.len();
        let texts = strings(value, path, findings)?;
        if listed == 0 {
            findings.error(Code::EmptyImages, path, "the list of images is empty", "name 1 to 100 images");
        }
        if listed > IMAGES_MAX {
            let help = format!("split it: a group holds at most {IMAGES_MAX}");
            findings.error(Code::TooManyImages, path, format!("{listed} images in one group"), help);
        }
        let mut seen: BTreeMap<String, Path> = BTreeMap::new();
        let mut images = Vec::new();
        for (text, path) in texts {
            let Some(image) = image(text, &path, findings) else { continue };
            if image.lacks_tag() {
                let message = format!("{text:?} has no tag, so `latest` is meant");
                findings.warning(Code::MissingTag, &path, message, "write a tag or a digest");
            }
            match seen.get(&image.identity()) {
                Some(first) => {
                    let message = format!("{text:?} is the same image as {first}");
                    findings.error(Code::DuplicateImage, &path, message, "remove one of them");
                }
                None => drop(seen.insert(image.identity(), path)),
            }
            images.push(image);
        }
        Some(images)
    }
}

/// `text` as an image reference.
pub fn image(text: &str, path: &Path, findings: &mut Findings) -> Option<ImageRef> {
    match ImageRef::parse(text) {
        Ok(image) => Some(image),
        // The line in the file may hold a password: it is not shown.
        Err(message) if ImageRef::may_hold_credentials(text) => {
            let help = "name a Secret in `pull_secrets`; a digest is written as `…@sha256:…`";
            findings.refuse(Code::InlineCredentials, (path, Target::Hidden), message, help)
        }
        Err(message) => {
            let message = format!("invalid image reference {text:?}: {message}");
            let help = "as `quay.io/team/app:1.0` or `registry.example.com:5000/team/app@sha256:…`";
            findings.refuse(Code::BadReference, path, message, help)
        }
    }
}
