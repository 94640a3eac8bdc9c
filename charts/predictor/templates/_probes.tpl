{{/* The handler among the keys of a probe, as YAML; empty when it names none. */}}
{{- define "predictor.probeHandler" -}}
{{- with pick (. | default dict) "httpGet" "tcpSocket" "exec" "grpc" }}
{{- include "predictor.block" . | trim }}
{{- end }}
{{- end }}

{{/* The default handler of a probe. Takes `root` and the runtime's `path`. */}}
{{- define "predictor.defaultHandler" -}}
{{- if include "predictor.isPredictor" .root -}}
httpGet:
  path: {{ .path | quote }}
  port: probes
{{- else -}}
tcpSocket:
  port: http
{{- end }}
{{- end }}

{{- define "predictor.readinessHandler" -}}
{{- include "predictor.probeHandler" .Values.probes.readiness | trim | default (include "predictor.defaultHandler" (dict "root" . "path" "/readyz")) }}
{{- end }}

{{/* The timings of a probe, as YAML. */}}
{{- define "predictor.probeTimings" -}}
{{- with omit . "httpGet" "tcpSocket" "exec" "grpc" }}
{{- include "predictor.block" . | trim }}
{{- end }}
{{- end }}

{{- define "predictor.probes" -}}
{{- $timing := .Values.timing }}
{{- with .Values.probes.startup }}
startupProbe:
  {{- include "predictor.probeHandler" . | trim | default (include "predictor.readinessHandler" $) | nindent 2 }}
  {{- with include "predictor.probeTimings" . | trim }}
  {{- . | nindent 2 }}
  {{- end }}
  failureThreshold: {{ divf $timing.startupSeconds (.periodSeconds | default 10) | ceil | int64 }}
{{- end }}
{{- with .Values.probes.readiness }}
readinessProbe:
  {{- include "predictor.readinessHandler" $ | nindent 2 }}
  {{- with include "predictor.probeTimings" . | trim }}
  {{- . | nindent 2 }}
  {{- end }}
{{- end }}
{{- with .Values.probes.liveness }}
livenessProbe:
  {{- include "predictor.probeHandler" . | trim | default (include "predictor.defaultHandler" (dict "root" $ "path" "/livez")) | nindent 2 }}
  {{- with include "predictor.probeTimings" . | trim }}
  {{- . | nindent 2 }}
  {{- end }}
{{- end }}
{{- end }}
