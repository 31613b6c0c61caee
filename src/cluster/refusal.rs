//! Who it is that refuses: the API server's authentication and authorization, or admission.
//!
//! Both answer with 401 or 403. The first may change its mind within seconds, since an API server that has
//! just started knows nobody; the second has looked at the object, and says the same again. Only words tell
//! them apart: those of the API server itself, which writes them the same way whichever authorizer or plugin
//! has decided.

use kube::core::Status;

/// `k8s.io/apiserver/pkg/admission/errors.go`, `NewForbidden`: `RESOURCE "NAME" is forbidden: CAUSE`. The
/// authorizer's is written the same way, with [`AUTHORIZER`] as the cause.
const FORBIDDEN: &str = " is forbidden: ";
/// `…/endpoints/handlers/responsewriters/errors.go`, `forbiddenMessage`: `User "U" cannot VERB resource "R" …`.
const AUTHORIZER: &str = "User \"";
/// `…/admission/plugin/webhook/errors/statuserror.go`: `admission webhook "W" denied the request: CAUSE`, with
/// whatever code the webhook has chosen.
const WEBHOOK: (&str, &str) = ("admission webhook \"", "denied the request");
/// `…/admission/plugin/policy/validating/dispatcher.go`: `ValidatingAdmissionPolicy 'P' with binding 'B' denied
/// request: CAUSE`, with the code of the policy's own `reason`: 422, 403, 401 or 413.
const POLICY: (&str, &str) = ("ValidatingAdmissionPolicy '", "denied request");
/// `…/admission/initializer`, `Handler.WaitForReady`: a plugin of an API server that has just started.
const NOT_READY: &str = "not yet ready to handle request";

/// Whether this is "not you" (401, 403), and not "not this object".
pub fn is_access_refused(status: &Status) -> bool {
    matches!(status.code, 401 | 403) && !is_object_refused(status)
}

/// Whether admission has refused this object, whatever the code.
pub fn is_object_refused(status: &Status) -> bool {
    let words = &status.message;
    let denied = |(who, what): (&str, &str)| words.find(who).is_some_and(|at| words[at..].contains(what));
    if denied(WEBHOOK) || denied(POLICY) {
        return true;
    }
    let cause = words.split_once(FORBIDDEN).map(|(_, cause)| cause);
    status.code == 403
        && cause.is_some_and(|cause| !cause.starts_with(AUTHORIZER) && !cause.contains(NOT_READY))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn access_that_is_refused_is_told_from_objects_that_are() {
        let namespaced = r#"jobs.batch is forbidden: User "system:serviceaccount:ns:sa" cannot create resource "jobs" in API group "batch" in the namespace "ns""#;
        for (code, message, access, object) in [
            (403, namespaced, true, false),
            (
                403,
                r#"nodes is forbidden: User "u" cannot list resource "nodes" in API group "" at the cluster scope: RBAC: clusterrole.rbac.authorization.k8s.io "x" not found"#,
                true,
                false,
            ),
            (403, r#"forbidden: User "system:anonymous" cannot get path "/version""#, true, false),
            (401, "Unauthorized", true, false),
            (401, "", true, false),
            (403, "", true, false),
            (403, "<html>not through this proxy</html>", true, false),
            (403, r#"jobs.batch "g-1" is forbidden: not yet ready to handle request"#, true, false),
            (
                403,
                r#"jobs.batch "g-1" is forbidden: exceeded quota: one, requested: count/jobs.batch=1"#,
                false,
                true,
            ),
            (
                403,
                r#"jobs.batch "g-1" is forbidden: unable to create new content in namespace ns because it is being terminated"#,
                false,
                true,
            ),
            (
                403,
                r#"pods "g-1" is forbidden: violates PodSecurity "restricted:latest": host namespaces"#,
                false,
                true,
            ),
            (403, r#"admission webhook "w.example.com" denied the request: no"#, false, true),
            (401, r#"admission webhook "w.example.com" denied the request: who are you"#, false, true),
            (500, r#"admission webhook "w.example.com" denied the request: I fell"#, false, true),
            (
                422,
                r#"jobs.batch "g-1" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no"#,
                false,
                true,
            ),
            (
                401,
                r#"jobs.batch "g-1" is forbidden: ValidatingAdmissionPolicy 'p' denied request: no"#,
                false,
                true,
            ),
            (404, "", false, false),
            (500, "etcdserver: request timed out", false, false),
        ] {
            let status = Status::failure(message, "").with_code(code);
            assert_eq!(
                (is_access_refused(&status), is_object_refused(&status)),
                (access, object),
                "{code} {message}"
            );
        }
    }
}
