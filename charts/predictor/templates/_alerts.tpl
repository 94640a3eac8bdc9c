{{/*
Recording rules and alerts. docs/runbooks/ has a page for each alert, and the time within which it fires.

The series of the pods have the labels `namespace` and `app_kubernetes_io_instance`, as for the autoscaler's query. A
recorded series has the labels `namespace` and `api`. An alert is rendered only where its series exist: those of
predictor_base, and those of kube-state-metrics and of KEDA where `monitoring.sources` names them.
*/}}

{{/* The selector of the pods' own series. */}}
{{- define "predictor.series" -}}
namespace={{ .Release.Namespace | quote }},app_kubernetes_io_instance={{ .Release.Name | quote }}
{{- end }}

{{/* The selector of recorded series. */}}
{{- define "predictor.recorded" -}}
namespace={{ .Release.Namespace | quote }},api={{ include "predictor.apiName" . | quote }}
{{- end }}

{{/* The groups that have rules; empty where alerts are off or no series exist. */}}
{{- define "predictor.ruleGroups" -}}
{{- if .Values.monitoring.alerts.enabled }}
{{- if .Values.runtime }}
{{- include "predictor.objectiveGroups" . }}
{{- include "predictor.driftGroup" . }}
{{- end }}
{{- include "predictor.stateGroup" . }}
{{- end }}
{{- end }}

{{/* The labels of a recorded series. */}}
{{- define "predictor.recordLabels" -}}
labels:
  namespace: {{ .Release.Namespace | quote }}
  api: {{ include "predictor.apiName" . | quote }}
{{- end }}

{{/* Labels and annotations of an alert. Takes `root`, `severity`, `page`, `summary`, `description`, and may take `labels`. */}}
{{- define "predictor.alertMetadata" -}}
{{- $alerts := .root.Values.monitoring.alerts -}}
labels:
  severity: {{ .severity }}
  namespace: {{ .root.Release.Namespace | quote }}
  api: {{ include "predictor.apiName" .root | quote }}
  {{- with .root.Values.api.environment }}
  environment: {{ . | quote }}
  {{- end }}
  {{- with .root.Values.api.team }}
  team: {{ . | quote }}
  {{- end }}
  {{- with .root.Values.api.deploymentId }}
  deployment_id: {{ . | quote }}
  {{- end }}
  {{- range $name, $value := .labels }}
  {{ $name }}: {{ $value | quote }}
  {{- end }}
annotations:
  summary: {{ printf "%s: %s" (include "predictor.apiName" .root) .summary | quote }}
  description: {{ .description | quote }}
  runbook_url: {{ printf "%s/%s.md" (trimSuffix "/" $alerts.runbooks) .page | quote }}
  {{- with $alerts.commit }}
  commit: {{ . | quote }}
  {{- end }}
{{- end }}

{{/* -- objectives ------------------------------------------------------------------------------------------------ */}}

{{/* Slow requests per second. Takes `root` and `seconds`. */}}
{{- define "predictor.slowRate" -}}
{{- /* Between two buckets the requests are spread evenly, as for histogram_quantile. */}}
{{- $below := "" }}{{ $above := "" }}
{{- range list "0.001" "0.0025" "0.005" "0.01" "0.025" "0.05" "0.1" "0.25" "0.5" "1.0" "2.5" "5.0" "10.0" "30.0" "60.0" }}
{{- if le (float64 .) (float64 $.seconds) }}{{ $below = . }}{{ end }}
{{- if and (not $above) (ge (float64 .) (float64 $.seconds)) }}{{ $above = . }}{{ end }}
{{- end }}
{{- $series := include "predictor.series" .root }}
{{- $rate := printf "sum(rate(predictor_request_duration_seconds_bucket{%s,le=%%q}[5m]))" $series }}
{{- $quick := printf $rate $above }}
{{- if ne $below $above }}
{{- $weight := round (divf (subf .seconds $below) (subf $above $below)) 6 }}
{{- $quick = printf "%s * %s + %s * %s" (printf $rate $below) (round (subf 1 $weight) 6 | toJson) (printf $rate $above) (toJson $weight) }}
{{- end -}}
clamp_min(sum(rate(predictor_request_duration_seconds_count{ {{- $series -}} }[5m])) - ({{ $quick }}), 0)
{{- end }}

{{/* Failed requests per second; 0 where none has failed yet. */}}
{{- define "predictor.failedRate" -}}
{{- $series := include "predictor.series" . -}}
sum(rate(predictor_requests_total{ {{- $series }},code=~"5.."}[5m])) or sum(rate(predictor_request_duration_seconds_count{ {{- $series -}} }[5m])) * 0
{{- end }}

{{/*
The objectives as JSON: `alert`, `record` (the beginning of the names of its series), `budget` (the share of requests that may
fail or be slow), `page` and words.
*/}}
{{- define "predictor.objectives" -}}
{{- $slo := .Values.monitoring.alerts.slo }}
{{- $found := list (dict "alert" "PredictorErrorBudgetBurn" "record" "predictor:failed" "page" "error-budget-burn" "name" "availability" "budget" (divf (subf 100 $slo.availability) 100) "what" "failed" "objective" (printf "%v%% of the requests succeed" $slo.availability)) }}
{{- range $slo.latency }}
{{- $found = append $found (dict "alert" "PredictorLatencyBudgetBurn" "record" (printf "predictor:slow_p%v" .percentile) "page" "latency-budget-burn" "name" (printf "p%v" .percentile) "budget" (divf (subf 100 .percentile) 100) "seconds" .seconds "what" (printf "took more than %v s" .seconds) "objective" (printf "%v%% of the requests take at most %v s" .percentile .seconds)) }}
{{- end }}
{{- toJson $found }}
{{- end }}

{{/*
Alerts with several windows and burn rates ("Alerting on SLOs", The Site Reliability Workbook): the long window shows that a
part of the budget of 30 days is spent, the short one that it still burns. Windows are sums of recorded rates: a query over
days of all series of all pods would be a hundred times as expensive.
*/}}
{{- define "predictor.objectiveGroups" -}}
{{- $fast := list (dict "long" "1h" "short" "5m" "burn" 14.4 "severity" "critical" "for" "2m") }}
{{- $slow := list (dict "long" "6h" "short" "30m" "burn" 6.0 "severity" "critical" "for" "5m") (dict "long" "1d" "short" "2h" "burn" 3.0 "severity" "warning" "for" "15m") (dict "long" "3d" "short" "6h" "burn" 1.0 "severity" "warning" "for" "30m") }}
{{- include "predictor.objectiveGroup" (dict "root" . "name" "objectives" "interval" "30s" "windows" (list "5m" "30m" "1h") "pairs" $fast) }}
{{- include "predictor.objectiveGroup" (dict "root" . "name" "objectives-slow" "interval" "2m" "windows" (list "2h" "6h" "1d" "3d") "pairs" $slow) }}
{{- end }}

{{- define "predictor.objectiveGroup" -}}
{{- $root := .root }}
{{- $objectives := include "predictor.objectives" $root | fromJsonArray }}
{{- $series := include "predictor.series" $root }}
{{- $recorded := include "predictor.recorded" $root }}
- name: {{ printf "%s-%s" (include "predictor.fullname" $root) .name | quote }}
  interval: {{ .interval }}
  rules:
    {{- if eq .name "objectives" }}
    - record: predictor:requests:rate5m
      expr: sum(rate(predictor_request_duration_seconds_count{ {{- $series -}} }[5m]))
      {{- include "predictor.recordLabels" $root | nindent 6 }}
    {{- range $objective := $objectives }}
    - record: {{ $objective.record }}:rate5m
      expr: {{ if hasKey $objective "seconds" }}{{ include "predictor.slowRate" (dict "root" $root "seconds" $objective.seconds) }}{{ else }}{{ include "predictor.failedRate" $root }}{{ end }}
      {{- include "predictor.recordLabels" $root | nindent 6 }}
    {{- end }}
    {{- end }}
    {{- range $window := .windows }}
    {{- range $objective := $objectives }}
    - record: {{ printf "%s:share%s" $objective.record $window }}
      {{- if eq $window "5m" }}
      expr: {{ $objective.record }}:rate5m{ {{- $recorded -}} } / predictor:requests:rate5m{ {{- $recorded -}} }
      {{- else }}
      expr: sum_over_time({{ $objective.record }}:rate5m{ {{- $recorded -}} }[{{ $window }}]) / sum_over_time(predictor:requests:rate5m{ {{- $recorded -}} }[{{ $window }}])
      {{- end }}
      {{- include "predictor.recordLabels" $root | nindent 6 }}
    {{- end }}
    {{- end }}
    {{- range $pair := .pairs }}
    {{- range $objective := $objectives }}
    {{- /* A large budget burns slowly even where every request is slow: from this share on it is an alert in any case. */}}
    {{- $most := addf $objective.budget (mulf 0.2 (subf 1 $objective.budget)) }}
    {{- $threshold := round (minf (mulf $pair.burn $objective.budget) $most) 8 | toJson }}
    {{- $long := printf "%s:share%s{%s}" $objective.record $pair.long $recorded }}
    {{- $short := printf "%s:share%s{%s}" $objective.record $pair.short $recorded }}
    - alert: {{ $objective.alert }}
      {{- /* One failure of an API with few callers is no burn. The rate is recorded every 30 seconds. */}}
      expr: |-
        {{ $long }} > {{ $threshold }}
        and {{ $short }} > {{ $threshold }}
        and sum_over_time({{ $objective.record }}:rate5m{ {{- $recorded -}} }[{{ $pair.long }}]) * 30 >= 5
      for: {{ $pair.for }}
      {{- $summary := printf "%s of the requests %s within %s" "{{ $value | humanizePercentage }}" $objective.what $pair.long }}
      {{- $description := printf "The objective is that %s. At this rate the error budget of 30 days is spent in %v days." $objective.objective (round (divf 30 $pair.burn) 1) }}
      {{- include "predictor.alertMetadata" (dict "root" $root "severity" $pair.severity "page" $objective.page "summary" $summary "description" $description "labels" (dict "objective" $objective.name "window" $pair.long)) | nindent 6 }}
    {{- end }}
    {{- end }}
{{- end }}

{{/* -- predictions ------------------------------------------------------------------------------------------------- */}}

{{/* Compare the predictions of a day with those of the previous deployment, for a week after the rollout. */}}
{{- define "predictor.driftGroup" -}}
{{- $kind := (.Values.runtime.monitoring | default dict).modelType }}
{{- $other := .Values.monitoring.alerts.previousDeploymentId }}
{{- if and $kind .Values.api.deploymentId }}
{{- $series := include "predictor.series" . }}
{{- $recorded := include "predictor.recorded" . }}
{{- $isClasses := eq $kind "classification" }}
{{- $by := ternary "class" "le" $isClasses }}
{{- $rates := printf "predictor:predictions_by_%s:rate5m" $by }}
- name: {{ printf "%s-predictions" (include "predictor.fullname" .) | quote }}
  interval: 2m
  rules:
    - record: {{ $rates }}
      expr: sum by (deployment_id, {{ $by }}) (rate({{ ternary "predictor_predictions_total" "predictor_prediction_value_bucket" $isClasses }}{ {{- $series -}} }[5m]))
      {{- include "predictor.recordLabels" . | nindent 6 }}
    {{- if $other }}
    {{- $current := printf "sum by (%s) (sum_over_time(%s{%s,deployment_id=%q}[1d])) * 120" $by $rates $recorded .Values.api.deploymentId }}
    {{- $previous := printf "sum by (%s) (sum_over_time(%s{%s,deployment_id=%q}[7d])) * 120" $by $rates $recorded $other }}
    - record: predictor:predictions:current
      expr: {{ $current }} or {{ $previous }} * 0
      {{- include "predictor.recordLabels" . | nindent 6 }}
    - record: predictor:predictions:previous
      expr: {{ $previous }} or {{ $current }} * 0
      {{- include "predictor.recordLabels" . | nindent 6 }}
    {{- include "predictor.drift" (dict "root" . "isClasses" $isClasses) | trim | nindent 4 }}
    {{- end }}
{{- end }}
{{- end }}

{{/*
The distance of two samples, and what chance makes of it: the population stability index of classes, whose expectation
grows with the number of classes, and Kolmogorov-Smirnov's distance of values.
*/}}
{{- define "predictor.drift" -}}
{{- $recorded := include "predictor.recorded" .root }}
{{- $current := printf "predictor:predictions:current{%s}" $recorded }}
{{- $previous := printf "predictor:predictions:previous{%s}" $recorded }}
{{- $total := printf "sum(%s)" }}
{{- $limit := "" }}
- record: predictor:drift:distance
{{- if .isClasses }}
  expr: |-
    sum(
      (({{ $current }} + 0.5) / scalar(sum({{ $current }} + 0.5)) - ({{ $previous }} + 0.5) / scalar(sum({{ $previous }} + 0.5)))
      * ln((({{ $current }} + 0.5) / scalar(sum({{ $current }} + 0.5))) / (({{ $previous }} + 0.5) / scalar(sum({{ $previous }} + 0.5))))
    )
{{- else }}
  expr: |-
    max(abs({{ $current }} / scalar(max({{ $current }})) - {{ $previous }} / scalar(max({{ $previous }}))))
{{- end }}
  {{- include "predictor.recordLabels" .root | nindent 2 }}
- record: predictor:drift:chance
{{- if .isClasses }}
  expr: |-
    (1 / sum({{ $current }}) + 1 / sum({{ $previous }}))
    * (count({{ $current }}) - 1 + 4 * sqrt(2 * (count({{ $current }}) - 1)))
{{- else }}
  expr: |-
    1.95 * sqrt(1 / max({{ $current }}) + 1 / max({{ $previous }}))
{{- end }}
  {{- include "predictor.recordLabels" .root | nindent 2 }}
- alert: PredictorDrift
  {{- $size := ternary "sum" "max" .isClasses }}
  expr: |-
    predictor:drift:distance{ {{- $recorded -}} } > {{ ternary "0.2" "0.15" .isClasses }} + predictor:drift:chance{ {{- $recorded -}} }
    and on () {{ $size }}({{ $current }}) >= 100
    and on () {{ $size }}({{ $previous }}) >= 100
  for: 30m
  {{- $measure := ternary "population stability index" "Kolmogorov-Smirnov distance" .isClasses }}
  {{- $summary := "the predictions differ from those of the previous deployment" }}
  {{- $description := printf "The %s of the last day against %s is %s." $measure .root.Values.monitoring.alerts.previousDeploymentId "{{ $value | humanize }}" }}
  {{- include "predictor.alertMetadata" (dict "root" .root "severity" "warning" "page" "prediction-drift" "summary" $summary "description" $description) | nindent 2 }}
{{- end }}

{{/* -- state --------------------------------------------------------------------------------------------------------- */}}

{{- define "predictor.stateGroup" -}}
{{- with include "predictor.stateRules" . | trim }}
- name: {{ printf "%s-state" (include "predictor.fullname" $) | quote }}
  interval: 30s
  rules:
    {{- . | nindent 4 }}
{{- end }}
{{- end }}

{{- define "predictor.stateRules" -}}
{{- $sources := .Values.monitoring.sources }}
{{- if .Values.runtime }}
{{- include "predictor.useAlerts" . }}
{{- end }}
{{- if or .Values.runtime $sources.kubeStateMetrics }}
{{ include "predictor.crashAlert" . }}
{{- end }}
{{- if $sources.kubeStateMetrics }}
{{ include "predictor.rolloutAlerts" . }}
{{- end }}
{{- if and $sources.keda .Values.autoscaling.enabled }}
{{ include "predictor.scalingAlert" . }}
{{- end }}
{{- end }}

{{- define "predictor.useAlerts" -}}
{{- $series := include "predictor.series" . }}
{{- $recorded := include "predictor.recorded" . }}
{{- $capacity := mulf .Values.autoscaling.inFlight.target (include "predictor.maxReplicas" . | int) }}
- alert: PredictorSaturated
  expr: |-
    sum(avg_over_time(predictor_requests_in_progress{ {{- $series -}} }[5m])) > {{ toJson $capacity }}
    or sum(rate(predictor_rejected_total{ {{- $series }},reason="queue_full"}[5m])) / sum(rate(predictor_requests_total{ {{- $series -}} }[5m])) > 0.01
  for: 10m
  {{- $summary := "more requests than all replicas can take" }}
  {{- $description := printf "For 10 minutes there were more than %v requests in progress (the target of %s replicas, the maximum), or more than 1%% of the requests were refused with 429 because the queue was full." $capacity (include "predictor.maxReplicas" .) }}
  {{- include "predictor.alertMetadata" (dict "root" . "severity" "critical" "page" "saturated" "summary" $summary "description" $description) | nindent 2 }}
- alert: PredictorUnused
  expr: |-
    max_over_time(predictor:requests:rate5m{ {{- $recorded -}} }[7d]) == 0
    and predictor:requests:rate5m{ {{- $recorded -}} } offset 7d
    and on () sum(predictor_model_ready{ {{- $series -}} }) > 0
  for: 10m
  {{- $summary := "no request for 7 days" }}
  {{- $description := "Its replicas cost money, and it received no request for 7 days." }}
  {{- include "predictor.alertMetadata" (dict "root" . "severity" "info" "page" "unused" "summary" $summary "description" $description) | nindent 2 }}
{{- end }}

{{/* What restarts too often, as an expression: containers, and workers inside of them. */}}
{{- define "predictor.restarts" -}}
{{- $parts := list }}
{{- if .Values.monitoring.sources.kubeStateMetrics }}
{{- $restarts := printf "{__name__=~\"kube_pod(_init)?_container_status_restarts_total\",namespace=%q,pod=~%q}" .Release.Namespace (printf "%s-[a-z0-9]+-[a-z0-9]{5}" (include "predictor.fullname" .)) }}
{{- /* Only of pods that still exist. */}}
{{- $parts = append $parts (printf "max(increase(%s[30m]) and %s) > 2.5" $restarts $restarts) }}
{{- end }}
{{- if .Values.runtime }}
{{- $parts = append $parts (printf "sum(increase(predictor_worker_restarts_total{%s}[30m])) > 2.5" (include "predictor.series" .)) }}
{{- end }}
{{- join " or " $parts }}
{{- end }}

{{- define "predictor.crashAlert" -}}
- alert: PredictorCrashLoop
  expr: {{ include "predictor.restarts" . }}
  {{- $summary := "its containers or workers end again and again" }}
  {{- $description := "At least three restarts within 30 minutes." }}
  {{- include "predictor.alertMetadata" (dict "root" . "severity" "critical" "page" "crash-loop" "summary" $summary "description" $description) | nindent 2 }}
{{- end }}

{{- define "predictor.rolloutAlerts" -}}
{{- $deployment := printf "namespace=%q,deployment=%q" .Release.Namespace (include "predictor.fullname" .) }}
{{- $deadline := include "predictor.progressDeadlineSeconds" . }}
- alert: PredictorNoReadyReplica
  expr: |-
    sum(kube_deployment_status_replicas_ready{ {{- $deployment -}} }) == 0
    and sum(kube_deployment_spec_replicas{ {{- $deployment -}} }) > 0
    and time() - max(kube_deployment_created{ {{- $deployment -}} }) > {{ $deadline }}
  for: {{ include "predictor.noReplicaFor" . }}
  {{- $summary := "no replica is ready" }}
  {{- $description := "Every request fails." }}
  {{- include "predictor.alertMetadata" (dict "root" . "severity" "critical" "page" "no-ready-replica" "summary" $summary "description" $description) | nindent 2 }}
- alert: PredictorRolloutStalled
  expr: |-
    (
      max(kube_deployment_status_condition{ {{- $deployment }},condition="Progressing",status="false"}) > 0
      {{- if include "predictor.hasPreflight" . }}
      or max(kube_job_status_failed{namespace={{ .Release.Namespace | quote }},job_name=~{{ printf "%s-preflight-[0-9a-f]{8}" (trunc 43 .Release.Name) | quote }}}) > 0
      {{- end }}
    )
    unless on () ({{ include "predictor.restarts" . }})
  for: 1m
  {{- $summary := "the rollout does not proceed" }}
  {{- $description := printf "No new replica became ready for %s seconds, or the preflight failed. The old replicas serve." $deadline }}
  {{- include "predictor.alertMetadata" (dict "root" . "severity" "warning" "page" "rollout-stalled" "summary" $summary "description" $description) | nindent 2 }}
{{- end }}

{{/* How long there may be no ready replica: as long as a start, where an update or a wake-up begins without one. */}}
{{- define "predictor.noReplicaFor" -}}
{{- $strategy := .Values.updateStrategy -}}
{{- $least := ternary (int .Values.autoscaling.minReplicas) (int .Values.replicas) .Values.autoscaling.enabled -}}
{{- if or (eq $strategy.type "Recreate") (lt $least 1) (and (eq $least 1) (has (toString $strategy.maxSurge) (list "0" "0%"))) -}}
{{ include "predictor.progressDeadlineSeconds" . }}s
{{- else -}}
2m
{{- end -}}
{{- end }}

{{- define "predictor.scalingAlert" -}}
{{- $object := printf "scaledObject=%q" (include "predictor.fullname" .) }}
{{- $errors := "rate(keda_scaler_detail_errors_total{%s=%q,%s}[2m])" }}
- alert: PredictorScalingFallback
  {{- /* A scrape without honorLabels renames KEDA's label `namespace`. */}}
  expr: |-
    max({{ printf $errors "exported_namespace" .Release.Namespace $object }} or {{ printf $errors "namespace" .Release.Namespace $object }}) > 0
  for: 5m
  {{- $summary := "KEDA cannot read what it scales on" }}
  {{- $description := "The number of replicas is that of the fallback, or does not change." }}
  {{- include "predictor.alertMetadata" (dict "root" . "severity" "warning" "page" "scaling-fallback" "summary" $summary "description" $description) | nindent 2 }}
{{- end }}
