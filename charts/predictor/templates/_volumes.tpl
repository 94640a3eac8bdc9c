{{/*
Volumes besides those of models and of the containers' own folders: claims of the values, and the writable copy of the
project. Their names begin with claim- and project, so that none is another's.
*/}}
{{- define "predictor.moreVolumes" -}}
{{- if .Values.writableProject }}
- name: project
  emptyDir:
    sizeLimit: {{ .Values.resources.ephemeralStorage | quote }}
{{- end }}
{{- range .Values.volumes }}
- name: {{ printf "claim-%s" .name | quote }}
  persistentVolumeClaim:
    claimName: {{ .claim | quote }}
    {{- if ne .readOnly false }}
    readOnly: true
    {{- end }}
{{- end }}
{{- end }}

{{- define "predictor.moreMounts" -}}
{{- if .Values.writableProject }}
- name: project
  mountPath: /app
  subPath: app
{{- end }}
{{- range .Values.volumes }}
- name: {{ printf "claim-%s" .name | quote }}
  mountPath: {{ .mountPath | quote }}
  {{- if ne .readOnly false }}
  readOnly: true
  {{- end }}
  {{- with .subPath }}
  subPath: {{ . | quote }}
  {{- end }}
{{- end }}
{{- end }}

{{/* Copies the project of the image. The user of the pod owns the copy, and may write what was read-only. */}}
{{- define "predictor.copyProject" -}}
- name: copy-project
  image: {{ include "predictor.image" . | quote }}
  imagePullPolicy: {{ .Values.image.pullPolicy | quote }}
  command: ["python3", "-c"]
  args:
    - |
      import os, shutil
      shutil.copytree("/app", "/project/app", symlinks=True)
      for folder, _, names in os.walk("/project/app"):
          for path in (folder, *(os.path.join(folder, name) for name in names)):
              if not os.path.islink(path):
                  os.chmod(path, os.stat(path).st_mode | 0o200)
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
    - name: project
      mountPath: /project
{{- end }}
