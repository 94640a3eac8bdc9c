{{/*
The dashboard. `dashboards/` has a file with the panels of each section, named after what has to be scraped for them; a section
without its source is left out. What is between two `@` is inserted.
*/}}

{{/* Whether there is a dashboard of this type; empty means no. Takes `root` and `type`. */}}
{{- define "predictor.hasDashboard" -}}
{{- if and (eq .root.Values.monitoring.dashboard.type .type) (include "predictor.dashboardSections" .root) }}yes{{ end -}}
{{- end }}

{{- define "predictor.dashboardSections" -}}
{{- $monitoring := .Values.monitoring }}
{{- $found := list }}
{{- if .Values.runtime }}
{{- $found = append $found "runtime" }}
{{- with .Values.runtime.monitoring }}
{{- $found = append $found .modelType }}
{{- if and $monitoring.alerts.enabled $monitoring.alerts.previousDeploymentId }}{{ $found = append $found "drift" }}{{ end }}
{{- end }}
{{- if $monitoring.alerts.enabled }}{{ $found = append $found "alerts" }}{{ end }}
{{- if not (kindIs "invalid" $monitoring.dashboard.hourlyPrice) }}{{ $found = append $found "cost" }}{{ end }}
{{- end }}
{{- if $monitoring.sources.kubeStateMetrics }}{{ $found = append $found "kube-state-metrics" }}{{ end }}
{{- if and $monitoring.sources.keda .Values.autoscaling.enabled }}{{ $found = append $found "keda" }}{{ end }}
{{- if and $monitoring.sources.dcgm (include "predictor.hasGpu" .) }}{{ $found = append $found "dcgm" }}{{ end }}
{{- join " " $found }}
{{- end }}

{{/* The name of the object, beside the ConfigMap with the settings. */}}
{{- define "predictor.dashboardName" -}}
{{ include "predictor.fullname" . }}-dashboard
{{- end }}

{{- define "predictor.dashboard" -}}
{{- $panels := list }}
{{- range include "predictor.dashboardSections" . | splitList " " }}
{{- $panels = append $panels ($.Files.Get (printf "dashboards/%s.json" .) | trim | trimPrefix "[" | trimSuffix "]" | trim) }}
{{- end }}
{{- $environment := .Values.api.environment | default .Release.Namespace }}
{{- $uid := printf "%s/%s" $environment (include "predictor.fullname" .) | sha256sum | trunc 20 }}
{{- $settings := .Values.monitoring.dashboard }}
{{- $text := .Files.Get "dashboards/dashboard.json" | replace "\"@PANELS@\"" (join ",\n" $panels) }}
{{- $text = $text | replace "@API@" (include "predictor.apiName" .) | replace "@RELEASE@" .Release.Name }}
{{- $text = $text | replace "@NAMESPACE@" .Release.Namespace | replace "@ENVIRONMENT@" $environment }}
{{- $text = $text | replace "@TARGET@" (toJson .Values.autoscaling.inFlight.target) | replace "@UID@" (printf "gitops-ml-%s" $uid) }}
{{- $text | replace "@PRICE@" (toJson $settings.hourlyPrice) | replace "@CURRENCY@" $settings.currency }}
{{- end }}
