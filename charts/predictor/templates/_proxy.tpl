{{/*
The proxy before a ready-made container. It is the pod's only container that is no sidecar: Kubernetes stops it first, and
the container that it forwards to lives until the proxy has answered its last request.
*/}}
{{- define "predictor.proxyContainer" -}}
{{- $proxy := .Values.proxy -}}
name: queue-proxy
image: {{ include "predictor.imageOf" $proxy.image | quote }}
imagePullPolicy: {{ $proxy.image.pullPolicy | quote }}
terminationMessagePolicy: FallbackToLogsOnError
args: ["--port", {{ int64 $proxy.port | toString | quote }}]
ports:
  - name: proxy
    containerPort: {{ int64 $proxy.port }}
    protocol: TCP
  - name: probes
    containerPort: {{ int64 .Values.container.probePort }}
    protocol: TCP
startupProbe:
  httpGet:
    path: /readyz
    port: probes
  periodSeconds: 1
  timeoutSeconds: 2
  failureThreshold: 60
readinessProbe:
  httpGet:
    path: /readyz
    port: probes
  periodSeconds: 5
  timeoutSeconds: 2
  failureThreshold: 2
livenessProbe:
  httpGet:
    path: /livez
    port: probes
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 3
{{- if gt (int .Values.timing.preStopSeconds) 0 }}
lifecycle:
  preStop:
    sleep:
      seconds: {{ int64 .Values.timing.preStopSeconds }}
{{- end }}
resources:
  requests:
    cpu: {{ $proxy.cpu | quote }}
    memory: {{ $proxy.memory | quote }}
  limits:
    memory: {{ $proxy.memory | quote }}
securityContext:
  {{- include "predictor.containerSecurityContext" (dict "readOnlyRootFilesystem" true "runAsUser" 10001) | nindent 2 }}
volumeMounts:
  - name: tmp-queue-proxy
    mountPath: /tmp
  - name: settings
    mountPath: /etc/predictor
    readOnly: true
{{- end }}
