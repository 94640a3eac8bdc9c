{{/*
The sum over the release's pods in Prometheus, averaged over the window. It is the average of the sum, not of each pod,
so that pods that started or ended within the window count only for the time they existed.

A release that is scaled to zero has no series: `or vector(0)` makes that a zero, which neither wakes it nor counts as
a failure. Otherwise a missing series is a failure, and never a reason to scale down.
*/}}
{{- define "predictor.inFlightQuery" -}}
{{- $inFlight := .Values.autoscaling.inFlight -}}
{{- if $inFlight.prometheus.query -}}
{{ $inFlight.prometheus.query }}
{{- else -}}
avg_over_time(sum({{ $inFlight.metric }}{namespace={{ .Release.Namespace | quote }},app_kubernetes_io_instance={{ .Release.Name | quote }}})[{{ int64 $inFlight.prometheus.windowSeconds }}s:10s])
{{- if eq (int .Values.autoscaling.minReplicas) 0 }} or vector(0){{ end -}}
{{- end -}}
{{- end }}

{{/* KEDA reads each endpoint of the Service at the pod's port, not the Service's. */}}
{{- define "predictor.inFlightTrigger" -}}
{{- $inFlight := .Values.autoscaling.inFlight }}
{{- if $inFlight.prometheus.address }}
- type: prometheus
  name: in-flight
  metricType: AverageValue
  metadata:
    {{- $metadata := dict "serverAddress" $inFlight.prometheus.address "query" (include "predictor.inFlightQuery" .) "threshold" (toJson $inFlight.target) "ignoreNullValues" "false" }}
    {{- include "predictor.block" (merge $metadata $inFlight.prometheus.metadata) | trim | nindent 4 }}
  {{- with include "predictor.authenticationRef" (dict "trigger" $inFlight.prometheus "name" (printf "%s-in-flight" (include "predictor.fullname" .))) }}
  {{- . | nindent 2 }}
  {{- end }}
{{- else }}
- type: metrics-api
  name: in-flight
  metricType: AverageValue
  metadata:
    url: http://{{ include "predictor.fullname" . }}.{{ .Release.Namespace }}.svc.cluster.local:{{ ternary .Values.container.probePort .Values.container.port .Values.proxy.enabled | int64 }}{{ .Values.metrics.path }}
    format: prometheus
    valueLocation: {{ $inFlight.metric | quote }}
    targetValue: {{ $inFlight.target | toJson | quote }}
    aggregateFromKubeServiceEndpoints: "true"
    aggregationType: sum
{{- end }}
{{- end }}

{{/* The authentication of a trigger. Takes the `trigger` and the `name` of the object that is created for it. */}}
{{- define "predictor.authenticationRef" -}}
{{- if .trigger.authenticationRef -}}
authenticationRef:
  name: {{ .trigger.authenticationRef.name | quote }}
  kind: {{ .trigger.authenticationRef.kind | default "TriggerAuthentication" | quote }}
{{- else if .trigger.authentication -}}
authenticationRef:
  name: {{ .name | quote }}
  kind: TriggerAuthentication
{{- end }}
{{- end }}

{{- define "predictor.triggers" -}}
{{- $autoscaling := .Values.autoscaling }}
{{- if $autoscaling.inFlight.enabled }}
{{- include "predictor.inFlightTrigger" . }}
{{- end }}
{{- with $autoscaling.httpAddon }}
{{- if .enabled }}
- type: external-push
  name: http
  metricType: AverageValue
  metadata:
    scalerAddress: {{ .scalerAddress | default (printf "keda-add-ons-http-external-scaler.%s:9090" .namespace) | quote }}
    interceptorRoute: {{ include "predictor.fullname" $ | quote }}
{{- end }}
{{- end }}
{{- if $autoscaling.cpu.enabled }}
- type: cpu
  name: cpu
  metricType: Utilization
  metadata:
    value: {{ $autoscaling.cpu.utilization | toJson | quote }}
    containerName: predictor
{{- end }}
{{- range $index, $window := $autoscaling.cron }}
- type: cron
  name: cron-{{ $index }}
  metricType: AverageValue
  metadata:
    timezone: {{ $window.timezone | quote }}
    start: {{ $window.start | quote }}
    end: {{ $window.end | quote }}
    desiredReplicas: {{ $window.replicas | toJson | quote }}
{{- end }}
{{- range $index, $trigger := $autoscaling.triggers }}
- type: {{ $trigger.type | quote }}
  name: {{ $trigger.name | default (printf "%s-%d" $trigger.type $index) | quote }}
  {{- with $trigger.metricType }}
  metricType: {{ . | quote }}
  {{- end }}
  {{- with $trigger.useCachedMetrics }}
  useCachedMetrics: {{ . }}
  {{- end }}
  metadata:
    {{- include "predictor.block" $trigger.metadata | trim | default "{}" | nindent 4 }}
  {{- with include "predictor.authenticationRef" (dict "trigger" $trigger "name" (printf "%s-%s-%d" (include "predictor.fullname" $) $trigger.type $index)) }}
  {{- . | nindent 2 }}
  {{- end }}
{{- end }}
{{- end }}
