//! What a group puts on a node, as one hash.

use serde_json::{Value, json};

use crate::config::{Group, HELPER, IMAGE_VOLUME, QUAYCTL, TemplateName, Templates, sha256_hex};

/// SHA-256, 64 lower-case hex digits, over what decides which bytes reach the node and how: images
/// in order, pull policy, pull secrets, service account, carrier image, template and values. Not
/// deadline, concurrency, tolerations or `keep_jobs`: a change of those does not make a pulled
/// image worth pulling again.
pub fn content(group: &Group, templates: &Templates) -> String {
    let images: Vec<String> = group.images.iter().map(|image| image.normalised()).collect();
    let facts = json!({
        "images": images,
        "pullPolicy": group.pull_policy.as_str(),
        "pullSecrets": group.pull_secrets,
        "serviceAccount": group.service_account,
        "carrierImage": group.carrier_image.as_ref().map(|image| image.normalised()),
        "template": template_texts(&group.template, templates),
        "values": group.values,
    });
    // serde_json keeps object keys sorted, so equal facts give equal bytes.
    sha256_hex(facts.to_string().as_bytes())
}

/// The texts a Job of this template may be made of. For `auto` those of both built-ins, so that a
/// group has one content on all of its nodes.
fn template_texts(template: &TemplateName, templates: &Templates) -> Value {
    match template {
        TemplateName::Auto => json!([IMAGE_VOLUME, HELPER]),
        TemplateName::ImageVolume => json!([IMAGE_VOLUME]),
        TemplateName::Helper => json!([HELPER]),
        TemplateName::Quayctl => json!([QUAYCTL]),
        TemplateName::User(name) => json!(templates.texts_of(name)),
    }
}
