//! The evidence as an annotation on the Job itself, for whoever looks with kubectl.

use serde_json::{Value, json};

use super::{Failure, ImageOutcome, ImageState, JobOutcome, Reason, Verdict};
use crate::outside_text::one_line_within;

/// Annotations of an object may hold 256 KiB together; 4 KiB keep `kubectl describe` readable.
const MAX_BYTES: usize = 4096;
/// So that one image's message does not push the others out.
const IMAGE_MESSAGE_BYTES_MAX: usize = 512;

/// `outcome` as one JSON object of at most 4 KiB. Images are left out from the end where they do not
/// fit, and then the middle of the message.
pub fn annotation_text(outcome: &JobOutcome, references: impl Iterator<Item = String>) -> String {
    let mut images: Vec<Value> = references
        .zip(&outcome.images)
        .map(|(reference, image)| image_note(reference, &image.state))
        .collect();
    let (verdict, reason, message) = match &outcome.verdict {
        Verdict::Succeeded => ("succeeded", None, ""),
        Verdict::Failed(failure) => ("failed", Some(failure.reason), failure.message.as_str()),
    };
    let mut message = one_line_within(message, MAX_BYTES / 2).into_owned();
    loop {
        let note = json!({"verdict": verdict, "reason": reason, "message": message, "images": images});
        let text = note.to_string();
        if text.len() <= MAX_BYTES || (images.is_empty() && message.is_empty()) {
            return text;
        }
        if images.pop().is_none() {
            // JSON may need more bytes than it has.
            message = one_line_within(&message, message.len() / 2).into_owned();
        }
    }
}

/// What [`annotation_text`] wrote, for the images `references` of the Job. An earlier process of the
/// run judged the Job while its pod was there to be asked; images that did not fit are unknown.
/// `None` for a text that is not ours.
pub fn read_annotation(text: &str, references: impl Iterator<Item = String>) -> Option<JobOutcome> {
    let note: Value = serde_json::from_str(text).ok()?;
    let failure = |value: &Value| {
        let reason = Reason::from_code(value["reason"].as_str()?)?;
        Some(Failure::new(reason, value["message"].as_str().unwrap_or_default()))
    };
    let verdict = match note["verdict"].as_str()? {
        "failed" => Verdict::Failed(failure(&note)?),
        // Of a Job that was ended with every image there.
        "succeeded" => Verdict::Succeeded,
        _ => return None,
    };
    let noted = note["images"].as_array().map(Vec::as_slice).unwrap_or_default();
    let state = |reference: String| {
        let image = noted.iter().find(|image| image["reference"] == reference.as_str());
        let state = match image.and_then(|image| image["state"].as_str()) {
            Some("pulled") => Some(ImageState::Pulled),
            Some("present") => Some(ImageState::Present),
            Some("failed") => image.and_then(failure).map(ImageState::Failed),
            _ => None,
        };
        ImageOutcome { state: state.unwrap_or(ImageState::Unknown), seconds: None, bytes: None, digest: None }
    };
    Some(JobOutcome { verdict, images: references.map(state).collect() })
}

fn image_note(reference: String, state: &ImageState) -> Value {
    match state {
        ImageState::Pulled => json!({"reference": reference, "state": "pulled"}),
        ImageState::Present => json!({"reference": reference, "state": "present"}),
        ImageState::Unknown => json!({"reference": reference, "state": "unknown"}),
        ImageState::Failed(failure) => {
            let message = one_line_within(&failure.message, IMAGE_MESSAGE_BYTES_MAX);
            json!({"reference": reference, "state": "failed", "reason": failure.reason, "message": message})
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_within_its_bound_whatever_the_registry_says() {
        let failure = Failure::new(Reason::PullFailed, "\"é\n".repeat(5000));
        let image = ImageOutcome {
            state: ImageState::Failed(failure.clone()),
            seconds: None,
            bytes: None,
            digest: None,
        };
        let outcome = JobOutcome { verdict: Verdict::Failed(failure), images: vec![image; 100] };
        let text = annotation_text(&outcome, (0..100).map(|i| format!("quay.io/x:{i}")));
        assert!(text.len() <= 4096, "{}", text.len());
        let note: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(note["reason"], "pull-failed");
        assert!(note["message"].as_str().unwrap().starts_with('"'));
    }

    #[test]
    fn a_cut_message_keeps_its_end_and_no_credentials() {
        let cause = "Get \"https://robot:s3cret@h/v2/\": dial tcp: lookup h: no such host";
        let message = format!("failed to pull: {}: {cause}", "x".repeat(9000));
        let failure = Failure::new(Reason::Dns, &*message);
        let state = ImageState::Failed(failure.clone());
        let image = ImageOutcome { state, seconds: None, bytes: None, digest: None };
        let outcome = JobOutcome { verdict: Verdict::Failed(failure), images: vec![image] };
        let note: Value =
            serde_json::from_str(&annotation_text(&outcome, ["a".to_owned()].into_iter())).unwrap();
        for message in [&note["message"], &note["images"][0]["message"]] {
            let message = message.as_str().unwrap();
            assert!(message.starts_with("failed to pull: x") && message.contains('…'), "{message}");
            assert!(message.ends_with("https://***@h/v2/\": dial tcp: lookup h: no such host"), "{message}");
        }
    }

    #[test]
    fn what_was_written_reads_back() {
        let image = |state| ImageOutcome { state, seconds: None, bytes: None, digest: None };
        let failure = Failure::new(Reason::ImageNotFound, "no \"x\"");
        let states = [
            ImageState::Present,
            ImageState::Failed(failure.clone()),
            ImageState::Unknown,
            ImageState::Pulled,
        ];
        let outcome = JobOutcome { verdict: Verdict::Failed(failure), images: states.map(image).to_vec() };
        let references = || ["a", "b", "c", "d"].map(str::to_owned).into_iter();
        let text = annotation_text(&outcome, references());
        assert_eq!(read_annotation(&text, references()), Some(outcome));
        let there = [ImageState::Present, ImageState::Pulled];
        let outcome = JobOutcome { verdict: Verdict::Succeeded, images: there.map(image).to_vec() };
        let references = || ["a", "b"].map(str::to_owned).into_iter();
        assert_eq!(read_annotation(&annotation_text(&outcome, references()), references()), Some(outcome));
        for foreign in ["", "{}", "[]", "{\"verdict\":\"failed\",\"reason\":\"new-one\"}"] {
            assert_eq!(read_annotation(foreign, references()), None);
        }
    }
}
