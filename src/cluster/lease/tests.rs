use super::super::events::tests::serving;
use super::*;

const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/pulls/leases/quayctl-controller-default";

/// The Lease of the default instance on `cluster`, without a look at it.
fn lease_of(cluster: &Cluster) -> LeaseClient {
    LeaseClient {
        cluster: cluster.clone(),
        leases: Api::namespaced(cluster.client.clone(), "pulls"),
        namespace: "pulls".into(),
        name: "quayctl-controller-default".into(),
        instance: "default".into(),
    }
}

fn replacement() -> Request {
    let spec =
        LeaseSpec { lease_transitions: Some(3), strategy: Some("of others".into()), ..LeaseSpec::default() };
    Request::Replace { version: "7".into(), spec }
}

#[tokio::test]
async fn a_replacement_names_its_version_and_all_that_goes() {
    let (server, cluster) = serving(1, vec![]).await;
    let answer = lease_of(&cluster).answer(replacement()).await;
    let Ok(Answer::Lease(lease)) = answer else { panic!("{answer:?}") };
    assert_eq!(lease.metadata.resource_version.as_deref(), Some("7"));
    let (line, body) = &server.requests(1).await[0];
    assert!(line.starts_with(&format!("PATCH {LEASE}?")) && !line.contains("dryRun"), "{line}");
    let spec = json!({"holderIdentity": null, "acquireTime": null, "renewTime": null,
        "leaseDurationSeconds": null, "leaseTransitions": 3});
    assert_eq!(*body, json!({"metadata": {"resourceVersion": "7"}, "spec": spec}));
}

#[tokio::test]
async fn what_is_refused_is_told_apart() {
    let (_server, cluster) = serving(9, vec![404, 404, 409, 403, 500, 404, 409]).await;
    let lease = lease_of(&cluster);
    assert!(matches!(lease.answer(Request::Get).await, Ok(Answer::Missing)));
    assert!(matches!(lease.answer(replacement()).await, Ok(Answer::Missing)));
    assert!(matches!(lease.answer(replacement()).await, Ok(Answer::Conflict)));
    let forbidden = lease.answer(replacement()).await.unwrap_err().to_string();
    let told = "not allowed to patch leases.coordination.k8s.io in namespace \"pulls\": ";
    assert!(forbidden.starts_with(told), "{forbidden}");
    let failed = lease.answer(Request::Get).await.unwrap_err().to_string();
    assert!(failed.contains("answered get leases.coordination.k8s.io with an error"), "{failed}");
    let missing = lease.answer(Request::Create(LeaseSpec::default())).await.unwrap_err();
    assert!(matches!(missing, ClusterError::NamespaceMissing(namespace) if namespace == "pulls"));
    let there = lease.answer(Request::Create(LeaseSpec::default())).await;
    assert!(matches!(there, Ok(Answer::Conflict)));
}

#[tokio::test]
async fn each_request_has_a_limit_and_says_what_was_asked_and_of_whom() {
    let (server, cluster) = serving(0, vec![]).await;
    let lease = lease_of(&cluster);
    for (n, verb, request) in [
        (1, "get", Request::Get),
        (2, "create", Request::Create(LeaseSpec::default())),
        (3, "patch", replacement()),
    ] {
        let hang = async {
            server.requests(n).await;
            tokio::time::pause();
            tokio::time::advance(CALL_TIMEOUT).await;
        };
        let (error, ()) = tokio::join!(lease.answer(request), hang);
        tokio::time::resume();
        let told = format!(
            "cannot reach the API server at {}: no answer within 2 s to a request to {verb} \
             leases.coordination.k8s.io in namespace \"pulls\"; check the address, the network and --context",
            cluster.server
        );
        assert_eq!(error.unwrap_err().to_string(), told);
    }
}

#[tokio::test]
async fn whoever_cannot_reach_the_server_stands_by_and_releases_in_time() {
    let (server, cluster) = serving(0, vec![]).await;
    let elector = LeaderElector::new("us".into(), Instant::now().into_std());
    let (sender, leads_until) = watch::channel(None);
    let release = CancellationToken::new();
    let task = tokio::spawn(run(lease_of(&cluster), elector, sender, release.clone()));
    let leadership = Leadership { leads_until, last_returned: false, release, task };
    server.requests(1).await;
    assert!(!leadership.is_leader());
    let begun = Instant::now();
    leadership.release().await;
    assert!(begun.elapsed() < RELEASE_TIMEOUT, "{:?}", begun.elapsed());
}
