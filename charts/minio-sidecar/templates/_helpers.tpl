{{/* Everything of this release is called "<fullname>-webhook". */}}
{{- define "minio-sidecar.name" -}}
{{- $full := .Values.fullnameOverride }}
{{- if not $full }}
{{- $name := .Values.nameOverride | default .Chart.Name }}
{{- $full = contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) }}
{{- end }}
{{- printf "%s-webhook" ($full | trunc 55 | trimSuffix "-") }}
{{- end }}

{{- define "minio-sidecar.selector" -}}
app.kubernetes.io/name: minio-sidecar-webhook
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "minio-sidecar.labels" -}}
{{ include "minio-sidecar.selector" . }}
app.kubernetes.io/part-of: minio-sidecar
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "minio-sidecar.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (include "minio-sidecar.name" .) }}
{{- end }}

{{- define "minio-sidecar.certificate" -}}
{{ include "minio-sidecar.name" . }}-cert
{{- end }}

{{/* "repository:tag" of (list image-values root); a digest instead of a tag works. */}}
{{- define "minio-sidecar.image" -}}
{{- $image := first . }}
{{- $tag := $image.tag | default (last .).Chart.AppVersion }}
{{- printf "%s%s%s" $image.repository (hasPrefix "sha256:" $tag | ternary "@" ":") $tag }}
{{- end }}

{{/* Where pods are never touched. Policy and webhook must agree on it. */}}
{{- define "minio-sidecar.namespaceSelector" -}}
matchExpressions:
- key: kubernetes.io/metadata.name
  operator: NotIn
  values: {{ append .Values.excludeNamespaces .Release.Namespace | uniq | toJson }}
- key: minio-sidecar/inject
  operator: NotIn
  values: [disabled]
{{- end }}

{{- define "minio-sidecar.notRefused" -}}
- name: not-refused
  expression: >-
    !has(object.metadata.annotations) ||
    !('minio-sidecar/inject' in object.metadata.annotations) ||
    object.metadata.annotations['minio-sidecar/inject'] != 'false'
{{- end }}

{{/* Of every container here. With the pod's part it passes the restricted profile. */}}
{{- define "minio-sidecar.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "minio-sidecar.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}
