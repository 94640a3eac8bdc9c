{{/* The name of every object: the release's. `predictor.checks` refuses names that Kubernetes would refuse. */}}
{{- define "predictor.fullname" -}}
{{- .Release.Name -}}
{{- end }}

{{/* The API's name outside Kubernetes. */}}
{{- define "predictor.apiName" -}}
{{- .Values.api.name | default .Release.Name -}}
{{- end }}

{{/* A Deployment's selector cannot change, so these labels never change. */}}
{{- define "predictor.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{/*
Labels that identify the API, and do not change with the chart's version. Labels are written as lines, and not as
mappings that are merged: converting text and data is most of the cost of rendering.
*/}}
{{- define "predictor.apiLabels" -}}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/name: {{ .Chart.Name }}
gitops-ml.dev/api: {{ include "predictor.apiName" . | quote }}
{{- with .Values.api.environment }}
gitops-ml.dev/environment: {{ quote . }}
{{- end }}
gitops-ml.dev/kind: {{ .Values.api.kind | quote }}
{{- with .Values.api.team }}
gitops-ml.dev/team: {{ quote . }}
{{- end }}
{{- end }}

{{/* The labels of a list of mappings: the first one with a key decides, and none replaces the chart's. */}}
{{- define "predictor.moreLabels" -}}
{{- $taken := list "app.kubernetes.io/instance" "app.kubernetes.io/name" "app.kubernetes.io/managed-by" "helm.sh/chart" "gitops-ml.dev/api" "gitops-ml.dev/environment" "gitops-ml.dev/kind" "gitops-ml.dev/team" "gitops-ml.dev/deployment-id" }}
{{- range compact . }}
{{- range $key, $value := . }}
{{- if not (has $key $taken) }}
{{- $taken = append $taken $key }}
{{ quote $key }}: {{ quote $value }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/*
Labels and annotations of the pods. Each change of them replaces all pods, so they have nothing of `labels` and
`annotations`, of the chart's version or of scaling.
*/}}
{{- define "predictor.podLabels" -}}
{{- include "predictor.apiLabels" . }}
{{- with .Values.api.deploymentId }}
gitops-ml.dev/deployment-id: {{ quote . }}
{{- end }}
{{- include "predictor.moreLabels" (list .Values.podLabels) }}
{{- end }}

{{- define "predictor.podAnnotations" -}}
{{- $ours := dict "kubectl.kubernetes.io/default-container" "predictor" }}
{{- if .Values.runtime }}
{{- $_ := set $ours "checksum/settings" (include "predictor.settings" . | sha256sum) }}
{{- end }}
{{- /* A container reads its environment once: a secret from another place needs other pods. */}}
{{- with .Values.externalSecrets }}
{{- $_ := set $ours "checksum/external-secrets" (toJson . | sha256sum) }}
{{- end }}
{{- if .Values.metrics.scrapeAnnotations }}
{{- $ours = merge $ours (dict "prometheus.io/scrape" "true" "prometheus.io/port" ((eq "probes" (include "predictor.metricsPort" .) | ternary .Values.container.probePort .Values.container.port) | toJson) "prometheus.io/path" .Values.metrics.path) }}
{{- end }}
{{- include "predictor.block" (merge $ours (.Values.podAnnotations | default dict)) | trim }}
{{- end }}

{{/*
The metadata of an object. Takes `root`, and may take `name`, `wave` (of Argo CD's sync; 0 is not written),
`labels` and `annotations`.
*/}}
{{- define "predictor.metadata" -}}
{{- $annotations := dict }}
{{- with .wave }}
{{- $_ := set $annotations "argocd.argoproj.io/sync-wave" (toString .) }}
{{- end }}
{{- $annotations = merge $annotations (.annotations | default dict) .root.Values.annotations -}}
name: {{ .name | default (include "predictor.fullname" .root) | quote }}
namespace: {{ .root.Release.Namespace | quote }}
labels:
  {{- include "predictor.apiLabels" .root | nindent 2 }}
  app.kubernetes.io/managed-by: {{ .root.Release.Service }}
  helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
  {{- with include "predictor.moreLabels" (list .root.Values.labels .labels) | trim }}
  {{- nindent 2 . }}
  {{- end }}
{{- with $annotations }}
annotations:
  {{- include "predictor.block" . | trim | nindent 2 }}
{{- end }}
{{- end }}

{{/* The image of the main container. */}}
{{- define "predictor.image" -}}
{{ include "predictor.imageOf" .Values.image }}
{{- end }}

{{/* An image: by digest where there is one. */}}
{{- define "predictor.imageOf" -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag }}
{{- end -}}
{{- end }}

{{/* The settings of the runtime, with facts about the release from other values. */}}
{{- define "predictor.settings" -}}
{{- $facts := dict "name" (include "predictor.apiName" .) "drainDelaySeconds" .Values.timing.drainSeconds "graceSeconds" .Values.timing.graceSeconds "closeSeconds" .Values.timing.closeSeconds "probePort" .Values.container.probePort }}
{{- with .Values.api.environment }}
{{- $_ := set $facts "environment" . }}
{{- end }}
{{- with .Values.api.deploymentId }}
{{- $_ := set $facts "deploymentId" . }}
{{- end }}
{{- with .Values.image.digest }}
{{- $_ := set $facts "imageDigest" . }}
{{- end }}
{{- if .Values.proxy.enabled }}
{{- $_ := set $facts "upstreamPort" .Values.container.port }}
{{- end }}
{{- range $key, $value := .Values.runtime }}
{{- $_ := set $facts $key $value }}
{{- end }}
{{- if kindIs "string" $facts.config }}
{{- /* JSON with numbers that values of Helm cannot hold. */}}
{{- $text := $facts.config }}
{{- printf "{\n  \"config\": %s,%s" (indent 2 $text | trim) (omit $facts "config" | toPrettyJson | trimPrefix "{") }}
{{- else }}
{{- $facts | toPrettyJson }}
{{- end }}
{{- end }}

{{/* Whether the pods request a GPU (or another accelerator); empty means no. */}}
{{- define "predictor.hasGpu" -}}
{{- if gt (int .Values.resources.gpu.count) 0 }}yes{{ end -}}
{{- end }}

{{/* The name of the port with the metrics: the runtime answers them apart from the API. */}}
{{- define "predictor.metricsPort" -}}
{{ ternary "probes" "http" (not (empty .Values.runtime)) }}
{{- end }}

{{/* The name of the port that requests come to. */}}
{{- define "predictor.requestPort" -}}
{{ ternary "proxy" "http" .Values.proxy.enabled }}
{{- end }}

{{/* Whether the main container is a predictor in the runtime; empty means no. */}}
{{- define "predictor.isPredictor" -}}
{{- if and .Values.runtime (not .Values.proxy.enabled) }}yes{{ end -}}
{{- end }}

{{/* The memory limit of the main container. */}}
{{- define "predictor.memoryLimit" -}}
{{- .Values.resources.memoryLimit | default .Values.resources.memory -}}
{{- end }}

{{- define "predictor.terminationGracePeriodSeconds" -}}
{{- $timing := .Values.timing -}}
{{- addf $timing.preStopSeconds $timing.drainSeconds $timing.graceSeconds $timing.closeSeconds | ceil | int64 -}}
{{- end }}

{{/* A rollout that waits for a node, the image, the models or the old pod's last requests has not failed yet. */}}
{{- define "predictor.progressDeadlineSeconds" -}}
{{ add .Values.timing.nodeProvisionSeconds .Values.timing.startupSeconds .Values.timing.minReadySeconds (include "predictor.terminationGracePeriodSeconds" . | int64) 60 }}
{{- end }}

{{/* The maximum number of replicas. */}}
{{- define "predictor.maxReplicas" -}}
{{- if .Values.autoscaling.enabled -}}
{{ int64 .Values.autoscaling.maxReplicas }}
{{- else -}}
{{ int64 .Values.replicas }}
{{- end -}}
{{- end }}

{{/* Whether KEDA reads the pods itself; empty means no. */}}
{{- define "predictor.kedaReadsPods" -}}
{{- $autoscaling := .Values.autoscaling -}}
{{- if and $autoscaling.enabled $autoscaling.inFlight.enabled (not $autoscaling.inFlight.prometheus.address) }}yes{{ end -}}
{{- end }}

{{/* Whether requests from outside go through the HTTP add-on's interceptor; empty means no. */}}
{{- define "predictor.intercepted" -}}
{{- if and .Values.autoscaling.enabled .Values.autoscaling.httpAddon.enabled }}yes{{ end -}}
{{- end }}

{{/* The host by which the interceptor distinguishes releases, whatever host and path the caller uses. */}}
{{- define "predictor.interceptorHost" -}}
{{ include "predictor.fullname" . }}.{{ .Release.Namespace }}
{{- end }}

{{/* How many seconds a request may wait for a release that is scaled to zero. */}}
{{- define "predictor.wakingSeconds" -}}
{{- $timing := .Values.timing -}}
{{- .Values.autoscaling.httpAddon.readinessTimeoutSeconds | default (add $timing.nodeProvisionSeconds $timing.startupSeconds) | int64 -}}
{{- end }}

{{/* The security context of a container: Pod Security "restricted". */}}
{{- define "predictor.containerSecurityContext" -}}
allowPrivilegeEscalation: false
capabilities:
  drop: [ALL]
privileged: false
readOnlyRootFilesystem: {{ .readOnlyRootFilesystem }}
runAsGroup: {{ int64 .runAsUser }}
runAsNonRoot: true
runAsUser: {{ int64 .runAsUser }}
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{/* The security context of a pod: Pod Security "restricted". */}}
{{- define "predictor.podSecurityContext" -}}
fsGroup: {{ int64 .Values.container.runAsUser }}
fsGroupChangePolicy: OnRootMismatch
runAsGroup: {{ int64 .Values.container.runAsUser }}
runAsNonRoot: true
runAsUser: {{ int64 .Values.container.runAsUser }}
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{/* The environment of the predictor: variables and secrets. */}}
{{- define "predictor.containerEnv" -}}
{{- include "predictor.env" .Values.container.env }}
{{- range .Values.secretEnv }}
- name: {{ .env | quote }}
  valueFrom:
    secretKeyRef:
      name: {{ .name | quote }}
      key: {{ .key | quote }}
      {{- if .optional }}
      optional: true
      {{- end }}
{{- end }}
{{- end }}

{{/* Environment variables in the format of Kubernetes, in a stable order; HOME is /tmp where they do not set it. */}}
{{- define "predictor.env" -}}
{{- $variables := dict "HOME" "/tmp" }}
{{- range $name, $value := . }}
{{- $_ := set $variables $name $value }}
{{- end }}
{{- range $name, $value := $variables }}
- name: {{ $name | quote }}
  value: {{ include "predictor.literal" $value | quote }}
{{- end }}
{{- end }}

{{/* A command or its arguments, as a list. */}}
{{- define "predictor.words" -}}
{{- range . }}
- {{ include "predictor.literal" . | quote }}
{{- end }}
{{- end }}

{{/*
A mapping or a list as YAML in which every text is quoted: toYaml renders nothing where a text has certain control
characters, and the functions that indent and trim change a text of several lines.
*/}}
{{- define "predictor.block" -}}
{{- if kindIs "map" . }}
{{- range $key, $value := . }}
{{ $key | quote }}:
{{- include "predictor.inner" $value }}
{{- end }}
{{- else }}
{{- range . }}
-
{{- include "predictor.inner" . }}
{{- end }}
{{- end }}
{{- end }}

{{- define "predictor.inner" -}}
{{- if and . (or (kindIs "map" .) (kindIs "slice" .)) }}
{{- include "predictor.block" . | trim | nindent 2 }}
{{- else if kindIs "string" . }} {{ quote . }}
{{- else }} {{ toJson . }}
{{- end }}
{{- end }}

{{/*
Text of a variable, a command or an argument, so that the container gets it as it is: Kubernetes replaces $(NAME) by a
variable and $$ by $ in these.
*/}}
{{- define "predictor.literal" -}}
{{- if contains "$" . }}
{{- regexReplaceAll "(\\$\\$+)|(\\$)(\\()" . "${1}${1}${2}${2}${3}" }}
{{- else }}
{{- . }}
{{- end }}
{{- end }}

{{/* What the pods may call where egress is restricted: DNS and the rules of the values. */}}
{{- define "predictor.egress" -}}
- to:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: kube-system
  ports:
    - port: 53
      protocol: UDP
    - port: 53
      protocol: TCP
{{- with .Values.networkPolicy.egress.rules }}
{{ toYaml . }}
{{- end }}
{{- end }}
