//! The one table of config keys: what each is called, what it may be, what it is where nobody sets it, and the
//! words for it. Pure.
//!
//! The structs that hold what was read, their reader, overrides from the environment, the JSON Schema, the
//! reference in `docs/`, `check --explain` and the config's hash derive from it. docs/architecture.md says how
//! to add a key.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use serde::Serialize;

use super::file::{Findings, Table};
use super::kinds::{
    AnyEffect, Count, Defs, FreeTable, ImageList, Integer, JobAnnotations, JobLabels, Kind, Label, Seconds,
    SecretNames, ServiceAccountName, TaintKey, TaintValue, TemplateValues, Text, TimeZone, Tolerations,
    Variable,
};
use super::{
    ImageRef, Limit, NodeSelector, Overlap, PullPolicy, RemovedTaint, Schedule, TaintEffect, TemplateName,
    Templates, TolerationOperator,
};

/// What the readers of all keys know of one; its own reader is its [`Kind`].
#[derive(Debug)]
pub struct Key {
    pub name: &'static str,
    /// Lines of one or more sentences.
    doc: &'static str,
    pub default: DefaultWords,
    pub variable: Variable,
    /// What editors are told; definitions that several keys share are put into the map.
    pub schema: fn(&mut Defs) -> serde_json::Value,
    /// Of the keys of a group: whether it may stand in `[defaults]` too.
    pub is_shared: bool,
}

/// What a key is where nobody sets it.
#[derive(Debug)]
pub enum DefaultWords {
    /// As TOML writes it.
    Toml(fn() -> String),
    /// Where that depends on something else; "" where nothing is to be said.
    Words(&'static str),
}

/// What one table says of a key: nothing, something wrong that was noted, or a value.
pub type Setting<T> = Option<Option<T>>;

/// `TABLE, AsWritten => Checked { … }`, each key as
///
/// ```text
/// /// Sentences for the reference and for editors, without the default.
/// @group "key" field: Type as Kind = default, "the default in words";
/// ```
///
/// * `@group` for a key of a group that may not stand in `[defaults]`;
/// * `"key"` where the field has another name, as a number needs its unit;
/// * `Type`, the field's, is `Kind::Value`, or an `Option` of it;
/// * the words where `default` is no value that TOML could write; "" to say nothing of it.
///
/// `and { … }` are fields beside the keys. It is a macro and not a `const` table with accessors, so that each
/// value has its type, and an entry without reader, schema or default does not compile.
macro_rules! keys {
    (
        $(#[$about:meta])*
        $KEYS:ident, $Written:ident => $Checked:ident {
            $(
                $(#[doc = $doc:literal])+
                $(@$own:ident)? $($name:literal)? $field:ident: $Type:ty as $Kind:ty = $default:expr $(, $words:literal)?;
            )+
        }
        and { $( $(#[$of_more:meta])* $more:ident: $More:ty, )* }
    ) => {
        pub static $KEYS: &[Key] = &[$(Key {
            name: keys!(@name $($name)? $field),
            doc: concat!($($doc, "\n"),+),
            default: keys!(@default $Kind, $default $(, $words)?),
            variable: <$Kind as Kind>::VARIABLE,
            schema: <$Kind as Kind>::schema,
            is_shared: keys!(@is_shared $($own)?),
        }),+];

        #[doc = concat!("What one table says of each of [`", stringify!($KEYS), "`].")]
        #[derive(Clone, Debug, Default)]
        pub struct $Written {
            $(pub $field: Setting<<$Kind as Kind>::Value>,)+
        }

        impl $Written {
            /// Takes every key from `table` that may stand there.
            pub fn read(table: &mut Table<'_>, findings: &mut Findings) -> $Written {
                let mut keys = $KEYS.iter();
                $(let $field = keys.next().and_then(|key| table.setting::<$Kind>(key, findings));)+
                $Written { $($field),+ }
            }

            /// Where this table says nothing, `below` does.
            pub fn over(self, below: &$Written) -> $Written {
                $Written { $($field: self.$field.or_else(|| below.$field.clone()),)+ }
            }

            /// Defaults in place of what is not set, or wrong.
            pub fn checked(self $(, $more: $More)*) -> $Checked {
                $Checked {
                    $($field: match self.$field.flatten() {
                        Some(value) => value.into(),
                        None => $default,
                    },)+
                    $($more,)*
                }
            }
        }

        $(#[$about])*
        #[derive(Clone, Debug, PartialEq, Serialize)]
        pub struct $Checked {
            $( $(#[doc = $doc])+ $(#[serde(rename = $name)])? pub $field: $Type, )+
            $( $(#[$of_more])* pub $more: $More, )*
        }
    };
    (@name $name:literal $field:ident) => { $name };
    (@name $field:ident) => { stringify!($field) };
    (@is_shared) => { true };
    (@is_shared group) => { false };
    (@default $Kind:ty, $default:expr) => {
        DefaultWords::Toml(|| <$Kind as Kind>::shown(&$default))
    };
    (@default $Kind:ty, $default:expr, $words:literal) => { DefaultWords::Words($words) };
}

keys! {
    /// A config that is ready to be planned from.
    ///
    /// Valid means: there is at least one group, names are unique and DNS-1123 labels, every image
    /// reference, selector, toleration and duration parsed, and every template named exists and compiles.
    TOP_LEVEL, TopLevel => Config {
        /// Where the Jobs live; it must exist. `MY_POD_NAMESPACE` sets another default.
        namespace: Option<String> as Label = None, "the pod's own, else the kubeconfig context's, else \"default\"";
        /// Tells two installations in one namespace apart.
        instance: String as Label = "default".to_owned();
        /// Nodes with a live Job at the same time, over all groups.
        concurrency: NonZeroUsize as Count = DEFAULT_CONCURRENCY;
        /// A run ends by then: nothing more is created, live Jobs are ended, what was not begun is `not-started`.
        /// Where it is not set, that is for each group the nodes divided by its limit, rounded up, times its
        /// deadline, plus a minute; time lost to live Jobs of other runs and to queues is added.
        "run_deadline" run_deadline_seconds: Option<u32> as Seconds<1> = None, "what `plan` computes";
    }
    and {
        /// In file order; never empty.
        groups: Vec<Group>,
        /// The user's templates and the built-in ones, with their texts.
        #[serde(flatten)]
        templates: Templates,
        /// SHA-256 over the effective config as sorted JSON, 64 lower-case hex digits.
        #[serde(skip)]
        hash: String,
    }
}

keys! {
    /// One `[[groups]]` table with `[defaults]` already folded in.
    GROUP, GroupTable => Group {
        /// Unique in the file.
        @group name: String as Label = String::new(), "";
        /// Image references with registry, tag or digest as containerd reads them; none twice.
        @group images: Vec<ImageRef> as ImageList = Vec::new(), "";
        /// Five fields as in a CronJob, or `@daily` and the like; only `serve` uses it.
        @group schedule: Option<Schedule> as Schedule = None, "none";
        /// Which nodes, in kubectl's label selector syntax: `zone in (fra,ams),!gpu`.
        node_selector: NodeSelector as NodeSelector = NodeSelector::default(), "every node";
        /// Taints that are no obstacle, for the plan and for the pods.
        tolerations: Vec<Toleration> as Tolerations = Vec::new();
        /// A limit narrower than the top-level one: a number of nodes, or a percentage of the group's
        /// eligible nodes, rounded up.
        concurrency: Option<Limit> as Limit = None, "the top-level one";
        /// A node's Job is ended after this: `activeDeadlineSeconds`. 1s to 168h. It ends no pull, so it has to be
        /// longer than the slowest one: docs/deploying.md.
        "deadline" deadline_seconds: u32 as Seconds<1> = 300;
        /// Where this group's Jobs live.
        namespace: Option<String> as Label = None, "the top-level one";
        /// `auto` (per node `image-volume` where it works, else `helper`), `image-volume`, `helper`,
        /// `quayctl`, or the name of a `[templates.NAME]`.
        template: TemplateName as TemplateName = TemplateName::Auto;
        /// When the kubelet asks the registry.
        pull_policy: PullPolicy as PullPolicy = PullPolicy::IfNotPresent;
        /// Names of Secrets in the Jobs' namespace: use the workloads' own.
        pull_secrets: Vec<String> as SecretNames = Vec::new();
        /// Of the Jobs' pods.
        service_account: String as ServiceAccountName = "default".to_owned();
        /// How long finished Jobs stay: `ttlSecondsAfterFinished`. 60s to 168h.
        "keep_jobs" keep_jobs_seconds: u32 as Seconds<60> = 3600;
        /// What carries image volumes and the helper. `QUAYCTL_CARRIER_IMAGE` sets another default.
        carrier_image: Option<ImageRef> as ImageRef = None,
            "\"registry.k8s.io/pause:3.10.1\" for image-volume, none for helper";
        /// The zone of `schedule`, a name of the IANA database.
        time_zone: String as TimeZone = "Etc/UTC".to_owned();
        /// What `serve` does when a run is due and the group's last one is still going: `skip` leaves it out,
        /// `wait` begins it afterwards.
        overlap: Overlap as Overlap = Overlap::Skip;
        /// Whether `serve` makes up for the latest run that fell due while it was down.
        catch_up: bool as bool = true;
        /// How late such a run may still begin. 1s to 168h. Jobs tell whether a run was done, so more than
        /// `keep_jobs` may repeat one.
        "catch_up_limit" catch_up_limit_seconds: u32 as Seconds<1> = 3600;
        /// Whether `serve` runs the group at once when its images, template or values change.
        run_on_change: bool as bool = true;
        /// Whether `serve` gives the images to nodes that join, turn Ready, are uncordoned or gain a matching
        /// label between runs.
        new_nodes: bool as bool = true;
        /// Whether `serve` labels a node that has all images with `quayctl-controller/NAME`, the group's name,
        /// and the first 16 digits of the group's content. Needs the right to patch nodes.
        ready_label: bool as bool = false;
        /// A startup taint, `KEY:EFFECT` with any value, that `serve` removes from a node that has all images.
        /// The group tolerates it. Needs the right to patch nodes.
        remove_taint: Option<RemovedTaint> as RemovedTaint = None, "none";
        /// Labels of the Jobs, beside ours, for queues and policies: `{ "kueue.x-k8s.io/queue-name" = "pulls" }`.
        /// They beat the template's. Their pods' labels are `values.pod_labels`, or the template's.
        job_labels: BTreeMap<String, String> as JobLabels = BTreeMap::new();
        /// Annotations of the Jobs, beside ours. They beat the template's.
        job_annotations: BTreeMap<String, String> as JobAnnotations = BTreeMap::new();
        /// Handed to the template as `values`, `[defaults]` < the template's < the group's. What the built-in
        /// templates take is listed below; a template of one's own may read any key.
        values: BTreeMap<String, serde_json::Value> as TemplateValues = BTreeMap::new();
    }
    and {}
}

keys! {
    /// A toleration as a pod has it. `Gt` and `Lt` (alpha in Kubernetes 1.37) are refused at load.
    TOLERATION, TolerationTable => Toleration {
        /// The taint's key; without one, with `Exists`, every taint is tolerated.
        key: Option<String> as TaintKey = None, "";
        /// Whether the taint's value counts.
        operator: TolerationOperator as TolerationOperator = TolerationOperator::Equal;
        /// The taint's value, for `Equal`.
        value: Option<String> as TaintValue = None, "";
        /// What the taint does to pods.
        effect: Option<TaintEffect> as AnyEffect = None, "every effect";
        /// For `NoExecute`: how long the pod may stay.
        toleration_seconds: Option<i64> as Integer = None, "";
    }
    and {}
}

keys! {
    /// A `[templates.NAME]` table. Either `file` or `inline`.
    TEMPLATE, TemplateTable => TemplateKeys {
        /// A file relative to the config, inside of its folder.
        file: Option<String> as Text = None, "";
        /// The text itself.
        inline: Option<String> as Text = None, "";
        /// Over the defaults' values, below the group's.
        values: BTreeMap<String, serde_json::Value> as FreeTable = BTreeMap::new(), "";
    }
    and {}
}

const DEFAULT_CONCURRENCY: NonZeroUsize = NonZeroUsize::MIN.saturating_add(19);

impl Key {
    /// For people: what it is for, and what it is where nobody sets it.
    pub fn description(&self) -> String {
        let doc: Vec<&str> = self.doc.lines().map(str::trim).collect();
        let default = match &self.default {
            DefaultWords::Words("") => String::new(),
            DefaultWords::Words(words) => format!(" Default: {words}."),
            DefaultWords::Toml(text) => format!(" Default: `{}`.", text()),
        };
        doc.join(" ") + &default
    }

    /// The same in one line of `check --explain`.
    pub fn default_words(&self) -> String {
        match &self.default {
            DefaultWords::Words(words) => (*words).to_owned(),
            DefaultWords::Toml(text) => text(),
        }
    }
}
