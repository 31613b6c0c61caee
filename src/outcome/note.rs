//! The evidence as an annotation on the Job itself, for whoever looks with kubectl.

use serde_json::{Value, json};

use super::{ImageState, JobOutcome, Verdict};

/// Annotations of an object may hold 256 KiB together; 4 KiB keep `kubectl describe` readable.
const MAX_BYTES: usize = 4096;

/// `outcome` as one JSON object of at most 4 KiB. Images are left out from the end where they do not
/// fit, and then the message is cut.
pub fn annotation_text(outcome: &JobOutcome, references: impl Iterator<Item = String>) -> String {
    let mut images: Vec<Value> = references
        .zip(&outcome.images)
        .map(|(reference, image)| image_note(reference, &image.state))
        .collect();
    let (verdict, reason, message) = match &outcome.verdict {
        Verdict::Succeeded => ("succeeded", None, ""),
        Verdict::Failed(failure) => ("failed", Some(failure.reason), failure.message.as_str()),
    };
    let mut message = message.to_owned();
    loop {
        let note = json!({"verdict": verdict, "reason": reason, "message": message, "images": images});
        let text = note.to_string();
        if text.len() <= MAX_BYTES || (images.is_empty() && message.is_empty()) {
            return text;
        }
        if images.pop().is_none() {
            let half = message.chars().count() / 2;
            message = message.chars().take(half).collect();
        }
    }
}

fn image_note(reference: String, state: &ImageState) -> Value {
    match state {
        ImageState::Pulled => json!({"reference": reference, "state": "pulled"}),
        ImageState::Present => json!({"reference": reference, "state": "present"}),
        ImageState::Unknown => json!({"reference": reference, "state": "unknown"}),
        ImageState::Failed(failure) => {
            json!({"reference": reference, "state": "failed", "reason": failure.reason, "message": failure.message})
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{Failure, ImageOutcome, Reason};

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
}
