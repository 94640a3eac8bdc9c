{{/* The container of the API. Behind a proxy it is a sidecar: it starts before the proxy and stops after it. */}}
{{- define "predictor.mainContainer" -}}
{{- $gpu := .Values.resources.gpu }}
{{- $settings := and .Values.runtime (not .Values.proxy.enabled) }}
{{- $gpuElsewhere := false }}
{{- range .Values.sidecars }}
{{- $gpuElsewhere = or $gpuElsewhere (.gpu | default false) }}
{{- end }}
name: predictor
image: {{ include "predictor.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy | quote }}
{{- if .Values.proxy.enabled }}
restartPolicy: Always
{{- end }}
{{- /* The reason of a crash is then in the pod's status, also for users who may not read logs. */}}
terminationMessagePolicy: FallbackToLogsOnError
{{- with .Values.container.command }}
command:
  {{- include "predictor.words" . | trim | nindent 2 }}
{{- end }}
{{- with .Values.container.args }}
args:
  {{- include "predictor.words" . | trim | nindent 2 }}
{{- end }}
env:
  {{- include "predictor.containerEnv" . | trim | nindent 2 }}
ports:
  - name: http
    containerPort: {{ int64 .Values.container.port }}
    protocol: TCP
  {{- if $settings }}
  - name: probes
    containerPort: {{ int64 .Values.container.probePort }}
    protocol: TCP
  {{- end }}
{{- with include "predictor.probes" . | trim }}
{{ . }}
{{- end }}
{{- if .Values.container.preStop }}
lifecycle:
  preStop:
    {{- include "predictor.block" .Values.container.preStop | trim | nindent 4 }}
{{- else if and (not .Values.proxy.enabled) (gt (int .Values.timing.preStopSeconds) 0) }}
lifecycle:
  preStop:
    sleep:
      seconds: {{ int64 .Values.timing.preStopSeconds }}
{{- end }}
resources:
  requests:
    cpu: {{ .Values.resources.cpu | quote }}
    memory: {{ .Values.resources.memory | quote }}
    ephemeral-storage: {{ .Values.resources.ephemeralStorage | quote }}
  limits:
    {{- with .Values.resources.cpuLimit }}
    cpu: {{ . | quote }}
    {{- end }}
    memory: {{ include "predictor.memoryLimit" . | quote }}
    ephemeral-storage: {{ .Values.resources.ephemeralStorage | quote }}
    {{- if and (include "predictor.hasGpu" .) (not $gpuElsewhere) }}
    {{ $gpu.resource }}: {{ $gpu.count | toJson | quote }}
    {{- end }}
securityContext:
  {{- include "predictor.containerSecurityContext" .Values.container | nindent 2 }}
volumeMounts:
  - name: tmp
    mountPath: /tmp
  {{- if $settings }}
  - name: settings
    mountPath: /etc/predictor
    readOnly: true
  {{- end }}
  {{- if .Values.shmSize }}
  - name: shm
    mountPath: /dev/shm
  {{- end }}
  {{- if .Values.sidecars }}
  - name: shared
    mountPath: /mnt
  {{- end }}
  {{- with include "predictor.modelMounts" . | trim }}
  {{- . | nindent 2 }}
  {{- end }}
  {{- with include "predictor.moreMounts" . | trim }}
  {{- . | nindent 2 }}
  {{- end }}
{{- end }}
