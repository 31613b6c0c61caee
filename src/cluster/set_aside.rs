//! Tells of what could not be read in objects that others have written.

use std::collections::HashSet;

use futures::{Stream, StreamExt};
use kube::runtime::watcher::Event;
use kube::{Resource, ResourceExt};

use super::wire::Tolerant;
use crate::decode::Fault;

/// A list of thousands of objects of one maker has the same fault thousands of times.
const TOLD_MAX: usize = 20;

/// What was told already: a watch sends an object again each time that it changes.
#[derive(Debug, Default)]
pub struct SetAside(HashSet<String>);

impl SetAside {
    /// Warns of each fault once, and of the first few only.
    pub fn tell(&mut self, kind: &str, namespace: Option<&str>, name: &str, faults: &[Fault]) {
        for fault in faults {
            let name = match (namespace, name) {
                (_, "") => "without a name".to_owned(),
                (Some(namespace), name) => format!("{namespace}/{name}"),
                (None, name) => name.to_owned(),
            };
            let text = format!("{kind} {name}: cannot read {fault}");
            if self.0.len() > TOLD_MAX || !self.0.insert(text.clone()) {
                continue;
            }
            match self.0.len() > TOLD_MAX {
                false => tracing::warn!("{text}; this is set aside, and the rest is used"),
                true => {
                    tracing::warn!("more objects hold values that cannot be read; they are set aside too")
                }
            }
        }
    }
}

/// The objects of a watcher's events, with what could not be read in them told.
pub fn told<K, E>(
    events: impl Stream<Item = Result<Event<Tolerant<K>>, E>> + Send,
) -> impl Stream<Item = Result<Event<K>, E>> + Send
where
    K: Resource<DynamicType = ()> + Send,
    E: Send,
{
    let mut set_aside = SetAside::default();
    let kind = K::kind(&()).to_lowercase();
    events.map(move |event| {
        let mut plain = |Tolerant { object, faults }: Tolerant<K>| {
            if !faults.is_empty() {
                let name = object.meta().name.clone().unwrap_or_default();
                set_aside.tell(&kind, object.namespace().as_deref(), &name, &faults);
            }
            object
        };
        event.map(|event| match event {
            Event::Apply(object) => Event::Apply(plain(object)),
            Event::Delete(object) => Event::Delete(plain(object)),
            Event::Init => Event::Init,
            Event::InitApply(object) => Event::InitApply(plain(object)),
            Event::InitDone => Event::InitDone,
        })
    })
}
