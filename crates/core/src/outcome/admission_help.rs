//! What admission refuses a pod for, in the keys of the config by which our pods can do as it asks.

use std::borrow::Cow;

/// By the resource's name in a refusal: the values of the built-in templates that decide on it.
const VALUES: [(&str, &str); 3] = [
    ("cpu", "`values.cpu` and `values.cpu_limit`"),
    ("memory", "`values.memory` and `values.memory_limit`"),
    ("ephemeral-storage", "`values.ephemeral_storage`"),
];

/// The words of a refusal, with what to do about it where that is known.
pub fn with_admission_help(words: &str) -> Cow<'_, str> {
    match of_limit_range(words).or_else(|| of_user_range(words)) {
        Some(help) => Cow::Owned(format!("{words}. {help}")),
        None => Cow::Borrowed(words),
    }
}

/// As in Kubernetes 1.37, `plugin/pkg/admission/limitranger/admission.go`: "minimum cpu usage per Container is
/// 10m, but request is 1m", "maximum memory usage per Pod is …", "cpu max limit to request ratio per
/// Container is 4, but provided ratio is 100.000000".
fn of_limit_range(words: &str) -> Option<String> {
    let is_named = |resource: &str| {
        let bound = |bound: &str| words.contains(&format!("{bound} {resource} usage per "));
        bound("minimum")
            || bound("maximum")
            || words.contains(&format!("{resource} max limit to request ratio"))
    };
    let named: Vec<&str> =
        VALUES.iter().filter(|(resource, _)| is_named(resource)).map(|(_, values)| *values).collect();
    let help = format!(
        "A LimitRange of the namespace asks for that: set {} of the group or in `[defaults]`",
        named.join(", ")
    );
    (!named.is_empty()).then_some(help)
}

/// OpenShift's `MustRunAsRange`, as in apiserver-library-go,
/// `pkg/securitycontextconstraints/user/mustrunasrange.go`: "runAsUser: Invalid value: 65532: must be in the
/// ranges: [1000650000, 1000659999]".
fn of_user_range(words: &str) -> Option<String> {
    let is_range = words.contains("runAsUser") && words.contains("must be in the range");
    is_range.then(|| {
        "The namespace assigns its pods a user: set `values.run_as_user = \"unset\"`, which leaves that to it".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_ranges_words_name_the_values_to_set() {
        for (words, named, not_named) in [
            (
                "pods \"x\" is forbidden: minimum cpu usage per Container is 10m, but request is 1m",
                "set `values.cpu` and `values.cpu_limit` of",
                "memory",
            ),
            (
                "pods \"x\" is forbidden: [maximum memory usage per Pod is 1Mi, but limit is 16777216, minimum \
                 ephemeral-storage usage per Container is 2Mi, but request is 1Mi]",
                "`values.memory_limit`, `values.ephemeral_storage`",
                "values.cpu",
            ),
            (
                "pods \"x\" is forbidden: cpu max limit to request ratio per Container is 4, but provided ratio is \
                 100.000000",
                "`values.cpu_limit`",
                "memory",
            ),
        ] {
            let told = with_admission_help(words);
            assert!(told.starts_with(words) && told.contains(named) && !told.contains(not_named), "{told}");
        }
    }

    #[test]
    fn a_user_that_openshift_refuses_is_one_to_leave_out() {
        let words = "unable to validate against any security context constraint: [provider restricted-v2: \
                     .spec.securityContext.runAsUser: Invalid value: 65532: must be in the ranges: [1000650000, \
                     1000659999]]";
        assert!(with_admission_help(words).contains("run_as_user = \"unset\""));
    }

    #[test]
    fn other_refusals_are_told_as_they_are() {
        for words in
            ["", "exceeded quota: cpu, requested: cpu=1m", "violates PodSecurity \"restricted:latest\""]
        {
            assert_eq!(with_admission_help(words), words);
        }
    }
}
