//! What the operator may do with the Kubernetes API, and what its users may do with WorkerClusters: one table, from which the chart's roles are
//! generated (`rbacgen`). A call of the operator that is not in it is refused on a real cluster, so a new call begins with a new line here.

use std::fmt::Write;

use crate::names::GROUP;

/// A role of the chart: what it is bound to decides how far its rules reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The operator, in every namespace that it watches: a ClusterRole, or with `watchNamespaces` a Role in each.
    Watched,
    /// The operator, in the whole cluster: a ClusterRole, which there is only without `watchNamespaces`.
    Cluster,
    /// The operator, in its own namespace.
    Release,
    /// The operator, in the namespaces of `secretAccess.namespaces`, and nowhere by default.
    Secrets,
    /// People who may look: part of Kubernetes' `view`, `edit` and `admin`.
    View,
    /// People who may change: part of Kubernetes' `edit` and `admin`.
    Edit,
}

/// Every role of the chart.
pub const ROLES: [Role; 6] = [Role::Watched, Role::Cluster, Role::Release, Role::Secrets, Role::View, Role::Edit];

/// One line of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The role that has this rule.
    pub role: Role,
    /// API group; empty for core.
    pub group: &'static str,
    /// Resource, with its subresource after a slash.
    pub resource: &'static str,
    /// What may be done with it.
    pub verbs: &'static [&'static str],
    /// Which objects: all, or the leader election's Lease only.
    pub objects: Objects,
    /// What it is needed for.
    pub why: &'static str,
}

/// The objects that a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Objects {
    /// All of the resource.
    All,
    /// The Lease that the chart names.
    OwnLease,
    /// The Secret with the key that orders to primaries are signed with.
    OwnKey,
}

/// The table.
pub const RULES: &[Rule] = &[
    rule(Role::Watched, GROUP, "workerclusters", &["get", "list", "watch"], "What users ask for."),
    rule(Role::Watched, GROUP, "workerclusters/status", &["patch"], "What the operator saw and decided."),
    rule(
        Role::Watched,
        GROUP,
        "workerclusters/scale",
        &["get", "patch"],
        "The autoscaler's decision, mirrored to spec.replicas; the rest of the spec is the user's and cannot be written.",
    ),
    rule(
        Role::Watched,
        GROUP,
        "workerclusters/finalizers",
        &["update"],
        "Asked for by OwnerReferencesPermissionEnforcement where an object's owner reference has blockOwnerDeletion.",
    ),
    rule(
        Role::Watched,
        "",
        "pods",
        &["get", "list", "watch", "create", "patch", "delete"],
        "The replicas; patch adopts and releases, and says which of them are busy.",
    ),
    rule(
        Role::Watched,
        "",
        "services",
        &["get", "list", "watch", "create", "patch", "delete"],
        "The Service on spec.http.port and the headless one.",
    ),
    rule(
        Role::Watched,
        "policy",
        "poddisruptionbudgets",
        &["get", "list", "watch", "create", "patch", "delete"],
        "The PodDisruptionBudget of spec.disruption.",
    ),
    rule(
        Role::Watched,
        "apps",
        "controllerrevisions",
        &["get", "list", "watch", "create", "patch", "delete"],
        "Revisions to go back to.",
    ),
    rule(Role::Watched, "", "events", &["create", "patch"], "Reasons, where kubectl describe looks for them."),
    rule(Role::Watched, "events.k8s.io", "events", &["create", "patch"], "The same in the newer group."),
    rule(
        Role::Cluster,
        "",
        "nodes",
        &["list", "watch"],
        "Whether most nodes are lost: then nothing is taken away because they are silent.",
    ),
    rule(
        Role::Release,
        "coordination.k8s.io",
        "leases",
        &["create"],
        "Leader election; RBAC cannot restrict a create by name.",
    ),
    Rule {
        role: Role::Release,
        group: "coordination.k8s.io",
        resource: "leases",
        verbs: &["get", "watch", "update", "patch"],
        objects: Objects::OwnLease,
        why: "Leader election: this Lease and no other; watched, so that one that is given back is taken at once.",
    },
    Rule {
        role: Role::Release,
        group: "",
        resource: "secrets",
        verbs: &["get", "patch"],
        objects: Objects::OwnKey,
        why: "The key that orders to primaries are signed with: the chart makes an empty Secret, and the operator fills it once.",
    },
    rule(Role::Secrets, "", "secrets", &["get"], "Passwords of the queues that autoscaling asks for their length."),
    rule(Role::View, GROUP, "workerclusters", &["get", "list", "watch"], "See WorkerClusters."),
    rule(Role::View, GROUP, "workerclusters/status", &["get"], "See their status."),
    rule(Role::View, GROUP, "workerclusters/scale", &["get"], "See their scale."),
    rule(
        Role::Edit,
        GROUP,
        "workerclusters",
        &["create", "update", "patch", "delete", "deletecollection"],
        "Change WorkerClusters; their status is the operator's.",
    ),
    rule(Role::Edit, GROUP, "workerclusters/scale", &["update", "patch"], "kubectl scale."),
];

const fn rule(
    role: Role,
    group: &'static str,
    resource: &'static str,
    verbs: &'static [&'static str],
    why: &'static str,
) -> Rule {
    Rule { role, group, resource, verbs, objects: Objects::All, why }
}

// === impl Role ===

impl Role {
    /// The rules of this role, in the table's order.
    pub fn rules(self) -> impl Iterator<Item = &'static Rule> {
        RULES.iter().filter(move |rule| rule.role == self)
    }

    /// Name of the chart's template that holds the rules.
    #[must_use]
    pub fn template(self) -> &'static str {
        match self {
            Self::Watched => "workercluster-operator.rules.watched",
            Self::Cluster => "workercluster-operator.rules.cluster",
            Self::Release => "workercluster-operator.rules.release",
            Self::Secrets => "workercluster-operator.rules.secrets",
            Self::View => "workercluster-operator.rules.view",
            Self::Edit => "workercluster-operator.rules.edit",
        }
    }
}

/// The chart's `templates/_rules.tpl`: a named template with the `rules` of each role.
#[must_use]
pub fn chart_templates() -> String {
    let mut out = String::from("{{- /* Generated from crds/src/rbac.rs by `make generate`; do not edit. */ -}}\n");
    for role in ROLES {
        let _ = writeln!(out, "\n{{{{- define \"{}\" -}}}}", role.template());
        for rule in role.rules() {
            let _ = writeln!(out, "# {}", rule.why);
            let _ = writeln!(out, "- apiGroups: [\"{}\"]", rule.group);
            let _ = writeln!(out, "  resources: [{}]", rule.resource);
            let own = match rule.objects {
                Objects::All => None,
                Objects::OwnLease => Some("leaseName"),
                Objects::OwnKey => Some("controlKeyName"),
            };
            if let Some(own) = own {
                let _ = writeln!(out, "  resourceNames: [{{{{ include \"workercluster-operator.{own}\" . }}}}]");
            }
            let _ = writeln!(out, "  verbs: [{}]", rule.verbs.join(", "));
        }
        out.push_str("{{- end }}\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_granted_by_wildcard() {
        for rule in RULES {
            assert!(!format!("{rule:?}").contains('*'), "{rule:?}");
        }
    }

    #[test]
    fn no_line_of_the_table_repeats_another() {
        for (index, rule) in RULES.iter().enumerate() {
            let twin = RULES[..index].iter().find(|other| {
                (other.role, other.group, other.resource, other.objects)
                    == (rule.role, rule.group, rule.resource, rule.objects)
            });
            assert_eq!(twin, None, "say it in one line");
        }
    }

    #[test]
    fn the_operator_cannot_raise_its_own_rights_or_enter_pods() {
        let operator = [Role::Watched, Role::Cluster, Role::Release, Role::Secrets];
        for rule in RULES.iter().filter(|rule| operator.contains(&rule.role)) {
            assert!(!rule.group.ends_with("rbac.authorization.k8s.io"), "{rule:?}");
            assert!(!["escalate", "bind", "impersonate"].iter().any(|verb| rule.verbs.contains(verb)), "{rule:?}");
            assert!(!rule.resource.starts_with("pods/") && rule.resource != "serviceaccounts/token", "{rule:?}");
        }
    }

    #[test]
    fn secrets_of_others_are_read_only_and_only_where_asked_for() {
        for rule in RULES.iter().filter(|rule| rule.resource.starts_with("secrets")) {
            let own = (Role::Release, Objects::OwnKey, &["get", "patch"][..]);
            let others = (Role::Secrets, Objects::All, &["get"][..]);
            assert!([own, others].contains(&(rule.role, rule.objects, rule.verbs)), "{rule:?}");
        }
    }

    #[test]
    fn outside_of_namespaces_nothing_is_written() {
        for rule in Role::Cluster.rules() {
            assert!(rule.verbs.iter().all(|verb| ["get", "list", "watch"].contains(verb)), "{rule:?}");
        }
    }

    #[test]
    fn only_the_own_lease_can_be_changed() {
        for rule in RULES.iter().filter(|rule| rule.resource == "leases") {
            assert!(rule.objects == Objects::OwnLease || rule.verbs == ["create"], "{rule:?}");
        }
    }

    #[test]
    fn who_may_edit_may_scale_and_never_writes_status() {
        assert!(
            Role::Edit.rules().any(|rule| rule.resource == "workerclusters/scale" && rule.verbs.contains(&"patch"))
        );
        assert!(!Role::Edit.rules().any(|rule| rule.resource == "workerclusters/status"));
    }

    #[test]
    fn the_chart_has_each_rule_of_the_table() {
        let templates = chart_templates();
        assert_eq!(templates.matches("- apiGroups:").count(), RULES.len());
        assert_eq!(templates.matches("{{- define").count(), ROLES.len());
    }
}
