{{- /* Generated from crds/src/rbac.rs by `make generate`; do not edit. */ -}}

{{- define "workercluster-operator.rules.watched" -}}
# What users ask for.
- apiGroups: ["workercluster.dev"]
  resources: [workerclusters]
  verbs: [get, list, watch]
# What the operator saw and decided.
- apiGroups: ["workercluster.dev"]
  resources: [workerclusters/status]
  verbs: [patch]
# The autoscaler's decision, mirrored to spec.replicas; the rest of the spec is the user's and cannot be written.
- apiGroups: ["workercluster.dev"]
  resources: [workerclusters/scale]
  verbs: [get, patch]
# Asked for by OwnerReferencesPermissionEnforcement where an object's owner reference has blockOwnerDeletion.
- apiGroups: ["workercluster.dev"]
  resources: [workerclusters/finalizers]
  verbs: [update]
# The replicas; patch adopts and releases, and says which of them are busy.
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, create, patch, delete]
# The Service on spec.http.port and the headless one.
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, patch, delete]
# The PodDisruptionBudget of spec.disruption.
- apiGroups: ["policy"]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
# Revisions to go back to.
- apiGroups: ["apps"]
  resources: [controllerrevisions]
  verbs: [get, list, watch, create, patch, delete]
# Reasons, where kubectl describe looks for them.
- apiGroups: [""]
  resources: [events]
  verbs: [create, patch]
# The same in the newer group.
- apiGroups: ["events.k8s.io"]
  resources: [events]
  verbs: [create, patch]
{{- end }}

{{- define "workercluster-operator.rules.cluster" -}}
# Whether most nodes are lost: then nothing is taken away because they are silent.
- apiGroups: [""]
  resources: [nodes]
  verbs: [list, watch]
{{- end }}

{{- define "workercluster-operator.rules.release" -}}
# Leader election; RBAC cannot restrict a create by name.
- apiGroups: ["coordination.k8s.io"]
  resources: [leases]
  verbs: [create]
# Leader election: this Lease and no other; watched, so that one that is given back is taken at once.
- apiGroups: ["coordination.k8s.io"]
  resources: [leases]
  resourceNames: [{{ include "workercluster-operator.leaseName" . }}]
  verbs: [get, watch, update, patch]
# The key that orders to primaries are signed with: the chart makes an empty Secret, and the operator fills it once.
- apiGroups: [""]
  resources: [secrets]
  resourceNames: [{{ include "workercluster-operator.controlKeyName" . }}]
  verbs: [get, patch]
{{- end }}

{{- define "workercluster-operator.rules.secrets" -}}
# Passwords of the queues that autoscaling asks for their length.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get]
{{- end }}

{{- define "workercluster-operator.rules.view" -}}
# See WorkerClusters.
- apiGroups: ["workercluster.dev"]
  resources: [workerclusters]
  verbs: [get, list, watch]
# See their status.
- apiGroups: ["workercluster.dev"]
  resources: [workerclusters/status]
  verbs: [get]
# See their scale.
- apiGroups: ["workercluster.dev"]
  resources: [workerclusters/scale]
  verbs: [get]
{{- end }}

{{- define "workercluster-operator.rules.edit" -}}
# Change WorkerClusters; their status is the operator's.
- apiGroups: ["workercluster.dev"]
  resources: [workerclusters]
  verbs: [create, update, patch, delete, deletecollection]
# kubectl scale.
- apiGroups: ["workercluster.dev"]
  resources: [workerclusters/scale]
  verbs: [update, patch]
{{- end }}
