//! Which planned Jobs an earlier run has done already, as far as its Jobs are still there to say so.

use std::collections::{HashMap, HashSet};

use super::{JobIndex, Plan, RunId, RunIdentity, name};

/// A Job of this instance that is Complete, whichever run made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompletedJob {
    pub namespace: String,
    pub name: String,
    pub group: String,
    /// By name.
    pub node: String,
    pub run_id: String,
    pub content: String,
}

impl Plan {
    /// The planned Jobs whose node has had a Complete Job of the same group with equal content. It is the
    /// same node, and not another by its name: a Job's name is made of the node's uid.
    pub fn completed_earlier(&self, completed: &[CompletedJob]) -> HashSet<JobIndex> {
        let places: HashMap<(&str, &str, &str), JobIndex> = self
            .indexed_jobs()
            .map(|(index, job)| ((&*job.namespace, &*job.group.name, &*job.node.name), index))
            .collect();
        let is_same = |index: JobIndex, done: &CompletedJob| {
            let planned = self.job(index);
            let Ok(run_id) = RunId::parse(&done.run_id) else { return false };
            let identity = RunIdentity { run_id, ..(*planned.identity).clone() };
            *planned.content == *done.content
                && name::job_name(&done.group, &planned.node, &identity, &done.content) == done.name
        };
        let done = completed.iter().filter_map(|done| {
            let index = *places.get(&(&*done.namespace, &*done.group, &*done.node))?;
            is_same(index, done).then_some(index)
        });
        done.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Node;
    use crate::plan::fixtures::{config, group, ready_node};

    fn plan_of(nodes: Vec<Node>, run_id: &str) -> Plan {
        let identity = RunIdentity {
            instance: "default".into(),
            run_id: RunId::parse(run_id).unwrap(),
            namespace: "ns".into(),
        };
        crate::plan::plan(&config(vec![group("a"), group("b")]), nodes, identity)
    }

    fn completed(plan: &Plan) -> Vec<CompletedJob> {
        let jobs = plan.jobs().map(|job| CompletedJob {
            namespace: job.namespace.clone(),
            name: job.name.clone(),
            group: job.group.name.clone(),
            node: job.node.name.clone(),
            run_id: job.identity.run_id.as_str().to_owned(),
            content: job.content.to_string(),
        });
        jobs.collect()
    }

    #[test]
    fn what_an_earlier_run_has_done_is_known_by_node_group_and_content() {
        let node = |uid: &str| Node { uid: uid.into(), ..ready_node("n") };
        let earlier = completed(&plan_of(vec![node("1"), ready_node("m")], "earlier"));
        let now = plan_of(vec![node("1"), ready_node("m"), ready_node("new")], "later");
        let done = now.completed_earlier(&earlier);
        let names: HashSet<&str> = done.iter().map(|index| now.job(*index).node.name.as_str()).collect();
        assert_eq!((done.len(), names), (4, HashSet::from(["n", "m"])));

        let reborn = plan_of(vec![node("2")], "later");
        assert!(reborn.completed_earlier(&earlier).is_empty(), "another node of that name has nothing");
        let changed: Vec<CompletedJob> =
            earlier.iter().map(|job| CompletedJob { content: "c0ffee".into(), ..job.clone() }).collect();
        assert!(now.completed_earlier(&changed).is_empty());
        let elsewhere: Vec<CompletedJob> =
            earlier.iter().map(|job| CompletedJob { namespace: "other".into(), ..job.clone() }).collect();
        assert!(now.completed_earlier(&elsewhere).is_empty());
    }
}
