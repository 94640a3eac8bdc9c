{{/*
Model artifacts: images that contain only model files. Where pods can mount images, the node pulls them like every image;
otherwise an init container with the predictor's image copies the files to a folder of the pod.
*/}}
{{- define "predictor.modelVolumes" -}}
{{- if .Values.models.imageVolumes }}
{{- range $index, $model := .Values.models.artifacts }}
- name: model-{{ $index }}
  image:
    reference: {{ $model.reference | quote }}
    {{- /* An image with a digest cannot change; a tag can move. */}}
    pullPolicy: {{ ternary "IfNotPresent" "Always" (contains "@sha256:" $model.reference) }}
{{- end }}
{{- else if .Values.models.artifacts }}
- name: models
  emptyDir:
    sizeLimit: {{ .Values.resources.ephemeralStorage | quote }}
{{- with .Values.imagePullSecrets }}
- name: pull-secrets
  projected:
    sources:
      {{- range . }}
      - secret:
          name: {{ .name | quote }}
          {{- /* Like the kubelet, continue without a missing one. */}}
          optional: true
          items:
            - key: .dockerconfigjson
              path: {{ printf "%s.json" .name | quote }}
      {{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "predictor.modelMounts" -}}
{{- if and .Values.models.artifacts (not .Values.models.imageVolumes) }}
- name: models
  mountPath: /models
  readOnly: true
{{- else }}
{{- range $index, $model := .Values.models.artifacts }}
- name: model-{{ $index }}
  mountPath: /models/{{ $model.name }}
  readOnly: true
{{- end }}
{{- end }}
{{- end }}

{{- define "predictor.fetchModels" -}}
- name: fetch-models
  image: {{ include "predictor.image" . | quote }}
  imagePullPolicy: {{ .Values.image.pullPolicy | quote }}
  command: ["python3", "-m", "predictor_base.models.fetch"]
  args:
    - --into=/models
    {{- if .Values.imagePullSecrets }}
    - --credentials=/etc/pull-secrets
    {{- end }}
    {{- range .Values.models.artifacts }}
    - {{ printf "%s=%s" .name .reference | quote }}
    {{- end }}
  env:
    {{- include "predictor.env" .Values.container.env | trim | nindent 4 }}
    {{- /* Report models that do not fit before they are fetched, instead of an eviction. */}}
    - name: MODELS_ROOM
      valueFrom:
        resourceFieldRef:
          resource: limits.ephemeral-storage
          divisor: "1"
  {{- /* It runs before the other containers, and requests no more than they do. */}}
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
  securityContext:
    {{- include "predictor.containerSecurityContext" .Values.container | nindent 4 }}
  volumeMounts:
    - name: tmp
      mountPath: /tmp
    - name: models
      mountPath: /models
    {{- if .Values.imagePullSecrets }}
    - name: pull-secrets
      mountPath: /etc/pull-secrets
      readOnly: true
    {{- end }}
{{- end }}
