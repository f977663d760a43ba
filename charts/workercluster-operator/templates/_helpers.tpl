{{- define "workercluster-operator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 52 | trimSuffix "-" }}
{{- end }}

{{- /* At most 52 characters: names of objects add up to eleven. A release called "workercluster" does not say it twice. */ -}}
{{- define "workercluster-operator.fullname" -}}
{{- $name := include "workercluster-operator.name" . }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else if hasPrefix (printf "%s-" .Release.Name) $name }}
{{- $name }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "workercluster-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ include "workercluster-operator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "workercluster-operator.labels" -}}
{{ include "workercluster-operator.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: operator
app.kubernetes.io/part-of: workercluster
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "workercluster-operator.serviceAccountName" -}}
{{- default (ternary (include "workercluster-operator.fullname" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name }}
{{- end }}

{{- /* One Lease for each release, so that two in one namespace do not exclude each other. */ -}}
{{- define "workercluster-operator.leaseName" -}}
{{- include "workercluster-operator.fullname" . }}
{{- end }}

{{- /* The Secret with the key that orders to primaries are signed with. */ -}}
{{- define "workercluster-operator.controlKeyName" -}}
{{- include "workercluster-operator.fullname" . }}-control-key
{{- end }}

{{- /* An image from (list context {repository, tag, digest}). */ -}}
{{- define "workercluster-operator.image" -}}
{{- $root := index . 0 }}
{{- with index . 1 }}
{{- if .digest }}
{{- printf "%s@%s" .repository .digest }}
{{- else }}
{{- printf "%s:%s" .repository (default $root.Chart.AppVersion .tag) }}
{{- end }}
{{- end }}
{{- end }}

{{- /* The operator as the subject of a binding. */ -}}
{{- define "workercluster-operator.subjects" -}}
- kind: ServiceAccount
  name: {{ include "workercluster-operator.serviceAccountName" . }}
  namespace: {{ .Release.Namespace }}
{{- end }}
