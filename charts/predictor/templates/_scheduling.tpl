{{/* The nodes that the pods may run on. Only pods that request a GPU select GPU nodes and tolerate their taints. */}}
{{- define "predictor.scheduling" -}}
{{- $scheduling := .Values.scheduling }}
{{- $nodeSelector := $scheduling.nodeSelector }}
{{- $tolerations := $scheduling.tolerations }}
{{- if include "predictor.hasGpu" . }}
{{- $nodeSelector = merge (dict) .Values.resources.gpu.nodeSelector $nodeSelector }}
{{- $tolerations = concat .Values.resources.gpu.tolerations $tolerations }}
{{- end }}
{{- with $nodeSelector }}
nodeSelector:
  {{- include "predictor.block" . | trim | nindent 2 }}
{{- end }}
{{- with $tolerations }}
tolerations:
  {{- include "predictor.block" . | trim | nindent 2 }}
{{- end }}
{{- with $scheduling.affinity }}
affinity:
  {{- include "predictor.block" . | trim | nindent 2 }}
{{- end }}
{{- with $scheduling.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- if $scheduling.topologySpread }}
topologySpreadConstraints:
  {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ . | quote }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "predictor.selectorLabels" $ | nindent 8 }}
    matchLabelKeys: [pod-template-hash]
  {{- end }}
{{- end }}
{{- end }}
