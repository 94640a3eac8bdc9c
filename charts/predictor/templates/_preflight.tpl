{{/*
The preflight: a Job that imports or loads the predictor with the new image before the Deployment changes. It is not a
hook: Argo CD runs hooks at every sync, and before the objects that the pods need. As an object of an earlier wave it comes
after ExternalSecrets, of a wave before, and after its account, by the order of kinds in its own wave. Argo CD continues only
when it has completed. Its name has a hash of what it runs, so that it runs once for each of these and its specification
never changes.
*/}}

{{/* Whether there is one; empty means no. */}}
{{- define "predictor.hasPreflight" -}}
{{- if ne .Values.preflight.check "none" }}yes{{ end -}}
{{- end }}

{{- define "predictor.preflightName" -}}
{{- $content := printf "%s\n%s" (include "predictor.preflightSpec" (dict "root" . "name" "")) (include "predictor.settings" .) -}}
{{ printf "%s-preflight-%s" (trunc 43 .Release.Name) (sha256sum $content | trunc 8) }}
{{- end }}

{{/* Other labels than those of the pods that serve: neither the Service nor a PodMonitor selects it. */}}
{{- define "predictor.preflightPodMetadata" -}}
{{- $labels := include "predictor.podLabels" . | fromYaml }}
{{- $_ := set $labels "app.kubernetes.io/name" (printf "%s-preflight" .Chart.Name) }}
{{- /* A sidecar, of a service mesh or of Vault, would not end. Vault's init container gets the secrets. */}}
{{- $_ := set $labels "sidecar.istio.io/inject" "false" }}
{{- $annotations := dict "linkerd.io/inject" "disabled" }}
{{- if hasKey .Values.podAnnotations "vault.hashicorp.com/agent-inject" }}
{{- $_ := set $annotations "vault.hashicorp.com/agent-pre-populate-only" "true" }}
{{- end }}
{{- include "predictor.block" (dict "labels" $labels "annotations" (merge $annotations .Values.podAnnotations)) | trim }}
{{- end }}

{{/* The Job's specification. Takes `root` and `name`, that of its ConfigMap. */}}
{{- define "predictor.preflightSpec" -}}
{{- $name := .name }}
{{- with .root }}
{{- $loads := eq .Values.preflight.check "load" }}
{{- $requests := .Values.preflight.requests }}
{{- /* The same error would occur again; the end of a node does not count. */}}
backoffLimit: 0
podFailurePolicy:
  rules:
    - action: Ignore
      onPodConditions:
        - type: DisruptionTarget
          status: "True"
activeDeadlineSeconds: {{ add .Values.timing.nodeProvisionSeconds .Values.timing.startupSeconds }}
template:
  metadata:
    {{- include "predictor.preflightPodMetadata" . | nindent 4 }}
  spec:
    restartPolicy: Never
    serviceAccountName: {{ include "predictor.fullname" . | quote }}
    automountServiceAccountToken: false
    enableServiceLinks: false
    terminationGracePeriodSeconds: 5
    {{- with .Values.imagePullSecrets }}
    imagePullSecrets:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    securityContext:
      {{- include "predictor.podSecurityContext" . | nindent 6 }}
    {{- with .Values.hostAliases }}
    hostAliases:
      {{- include "predictor.block" . | trim | nindent 6 }}
    {{- end }}
    {{- $fetches := and $loads .Values.models.artifacts (not .Values.models.imageVolumes) }}
    {{- if or $fetches .Values.writableProject }}
    initContainers:
      {{- if $fetches }}
      {{- include "predictor.fetchModels" . | trim | nindent 6 }}
      {{- end }}
      {{- if .Values.writableProject }}
      {{- include "predictor.copyProject" . | trim | nindent 6 }}
      {{- end }}
    {{- end }}
    containers:
      - name: preflight
        image: {{ include "predictor.image" . | quote }}
        imagePullPolicy: {{ .Values.image.pullPolicy | quote }}
        terminationMessagePolicy: FallbackToLogsOnError
        command: ["python3", "-m", "predictor_base.predictor.check"]
        {{- with compact (list (ternary "--load" "" $loads) (ternary "--without-accelerator" "" (not (empty (include "predictor.hasGpu" .))))) }}
        args:
          {{- toYaml . | nindent 10 }}
        {{- end }}
        env:
          {{- include "predictor.containerEnv" . | trim | nindent 10 }}
        resources:
          requests:
            cpu: {{ $requests.cpu | default .Values.resources.cpu | quote }}
            memory: {{ $requests.memory | default .Values.resources.memory | quote }}
            ephemeral-storage: {{ $requests.ephemeralStorage | default .Values.resources.ephemeralStorage | quote }}
          limits:
            {{- with .Values.resources.cpuLimit }}
            cpu: {{ . | quote }}
            {{- end }}
            memory: {{ include "predictor.memoryLimit" . | quote }}
            ephemeral-storage: {{ .Values.resources.ephemeralStorage | quote }}
        securityContext:
          {{- include "predictor.containerSecurityContext" .Values.container | nindent 10 }}
        volumeMounts:
          - name: tmp
            mountPath: /tmp
          - name: settings
            mountPath: /etc/predictor
            readOnly: true
          {{- if $loads }}
          {{- if .Values.shmSize }}
          - name: shm
            mountPath: /dev/shm
          {{- end }}
          {{- with include "predictor.modelMounts" . | trim }}
          {{- . | nindent 10 }}
          {{- end }}
          {{- end }}
          {{- with include "predictor.moreMounts" . | trim }}
          {{- . | nindent 10 }}
          {{- end }}
    volumes:
      - name: tmp
        emptyDir:
          sizeLimit: {{ .Values.resources.ephemeralStorage | quote }}
      - name: settings
        configMap:
          name: {{ $name | quote }}
      {{- if $loads }}
      {{- with .Values.shmSize }}
      - name: shm
        emptyDir:
          medium: Memory
          sizeLimit: {{ . | quote }}
      {{- end }}
      {{- with include "predictor.modelVolumes" . | trim }}
      {{- . | nindent 6 }}
      {{- end }}
      {{- end }}
      {{- with include "predictor.moreVolumes" . | trim }}
      {{- . | nindent 6 }}
      {{- end }}
    {{- with include "predictor.preflightNodes" . | trim }}
    {{- . | nindent 4 }}
    {{- end }}
{{- end }}
{{- end }}

{{/*
The nodes of the pods, but for the GPU class: it needs no GPU. It prefers nodes without one, and tolerates the others: the
cluster may have no other nodes with room.
*/}}
{{- define "predictor.preflightNodes" -}}
{{- $scheduling := .Values.scheduling }}
{{- $gpu := .Values.resources.gpu }}
{{- $hasGpu := include "predictor.hasGpu" . }}
{{- with $scheduling.nodeSelector }}
nodeSelector:
  {{- include "predictor.block" . | trim | nindent 2 }}
{{- end }}
{{- with ternary (concat $gpu.tolerations $scheduling.tolerations) $scheduling.tolerations (not (empty $hasGpu)) }}
tolerations:
  {{- include "predictor.block" . | trim | nindent 2 }}
{{- end }}
{{- if $scheduling.affinity }}
affinity:
  {{- include "predictor.block" $scheduling.affinity | trim | nindent 2 }}
{{- else if and $hasGpu $gpu.nodeSelector }}
affinity:
  nodeAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      {{- range $label, $value := $gpu.nodeSelector }}
      - weight: 100
        preference:
          matchExpressions:
            - key: {{ $label | quote }}
              operator: NotIn
              values: [{{ $value | quote }}]
      {{- end }}
{{- end }}
{{- with $scheduling.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- end }}
