{{/*
Rules that a schema cannot express: between values, and between values and the release's name. Each one fails the
rendering with a sentence that names the value to change.
*/}}
{{- define "predictor.checks" -}}
{{- include "predictor.checkName" . }}
{{- include "predictor.checkImage" . }}
{{- include "predictor.checkPods" . }}
{{- include "predictor.checkScheduling" . }}
{{- include "predictor.checkRoute" . }}
{{- if .Values.autoscaling.enabled }}
{{- include "predictor.checkAutoscaling" . }}
{{- include "predictor.checkScaleToZero" . }}
{{- include "predictor.checkTriggers" . }}
{{- end }}
{{- end }}

{{- define "predictor.checkName" -}}
{{- if gt (len .Release.Name) 54 }}
{{- fail (printf "the release name %q has %d characters, more than 54: KEDA adds the prefix keda-hpa-, and Kubernetes allows 63" .Release.Name (len .Release.Name)) }}
{{- end }}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" .Release.Name) }}
{{- fail (printf "the release name %q is not a DNS label: a Service needs lower case letters, digits and dashes, with a letter first" .Release.Name) }}
{{- end }}
{{- end }}

{{- define "predictor.checkImage" -}}
{{- if not .Values.image.repository }}
{{- fail "image.repository is required: the registry and path of the image, for example ghcr.io/acme/ml/iris-classifier" }}
{{- end }}
{{- if not (or .Values.image.digest .Values.image.tag) }}
{{- fail "image.digest (or image.tag) is required: the chart has no default version" }}
{{- end }}
{{- end }}

{{- define "predictor.checkPods" -}}
{{- range $name, $probe := .Values.probes }}
{{- if gt (len (pick ($probe | default dict) "httpGet" "tcpSocket" "exec" "grpc")) 1 }}
{{- fail (printf "probes.%s names more than one of httpGet, tcpSocket, exec and grpc" $name) }}
{{- end }}
{{- end }}
{{- $variables := .Values.container.env | default dict | keys }}
{{- range .Values.secretEnv }}
{{- if has .env $variables }}
{{- fail (printf "secretEnv sets %s, which container.env or another secretEnv sets too" .env) }}
{{- end }}
{{- $variables = append $variables .env }}
{{- end }}
{{- $models := list }}
{{- range .Values.models.artifacts }}
{{- if has .name $models }}
{{- fail (printf "two models.artifacts are called %s" .name) }}
{{- end }}
{{- $models = append $models .name }}
{{- end }}
{{- $gpus := list }}
{{- $containers := list "predictor" }}
{{- include "predictor.checkProxy" . }}
{{- if .Values.proxy.enabled }}
{{- $containers = append $containers "queue-proxy" }}
{{- end }}
{{- if and $models (not .Values.models.imageVolumes) }}
{{- if not (include "predictor.isPredictor" .) }}
{{- fail "models.artifacts of a ready-made container need models.imageVolumes true: only an image with the runtime can copy them" }}
{{- end }}
{{- $containers = append $containers "fetch-models" }}
{{- end }}
{{- if .Values.writableProject }}
{{- if not (include "predictor.isPredictor" .) }}
{{- fail "writableProject needs the runtime: a ready-made container has no project" }}
{{- end }}
{{- $containers = append $containers "copy-project" }}
{{- end }}
{{- $taken := list "/" "/app" "/dev/shm" "/etc/predictor" "/mnt" "/models" "/tmp" }}
{{- $claims := list }}
{{- range .Values.volumes }}
{{- if has .name $claims }}
{{- fail (printf "two volumes are called %s" .name) }}
{{- end }}
{{- $claims = append $claims .name }}
{{- if has (clean .mountPath) $taken }}
{{- fail (printf "volumes: something else is mounted at %s, or it has files of the image" .mountPath) }}
{{- end }}
{{- $taken = append $taken (clean .mountPath) }}
{{- end }}
{{- range .Values.sidecars }}
{{- if has .name $containers }}
{{- fail (printf "two containers of the pod are called %s" .name) }}
{{- end }}
{{- $containers = append $containers .name }}
{{- if and .gpu (has true $gpus) }}
{{- fail "two sidecars have gpu true, and only one container can have the accelerators of resources.gpu" }}
{{- end }}
{{- $gpus = append $gpus (.gpu | default false) }}
{{- $sidecar := .name }}
{{- range compact (list .readinessProbe .livenessProbe) }}
{{- if ne (len (pick . "httpGet" "tcpSocket" "exec" "grpc")) 1 }}
{{- fail (printf "each probe of the sidecar %s needs exactly one of httpGet, tcpSocket, exec and grpc" $sidecar) }}
{{- end }}
{{- if or (eq "http" (toString (.httpGet | default dict).port)) (eq "http" (toString (.tcpSocket | default dict).port)) }}
{{- fail (printf "a probe of the sidecar %s uses the port http, which is the main container's: give the sidecar's port number" $sidecar) }}
{{- end }}
{{- end }}
{{- end }}
{{- if and .Values.runtime (eq (int .Values.container.port) (int .Values.container.probePort)) }}
{{- fail "container.port and container.probePort are the same: the runtime answers probes on a port of their own" }}
{{- end }}
{{- $secrets := list }}
{{- range .Values.externalSecrets }}
{{- if has .name $secrets }}
{{- fail (printf "two externalSecrets are called %s" .name) }}
{{- end }}
{{- $secrets = append $secrets .name }}
{{- end }}
{{- if and (include "predictor.hasPreflight" .) (not (include "predictor.isPredictor" .)) }}
{{- fail "preflight.check needs the runtime: set it to none for a ready-made container" }}
{{- end }}
{{- if and (not .Values.metrics.path) (or .Values.podMonitor.enabled .Values.metrics.scrapeAnnotations) }}
{{- fail "podMonitor.enabled and metrics.scrapeAnnotations need a metrics.path" }}
{{- end }}
{{- end }}

{{- define "predictor.checkProxy" -}}
{{- $proxy := .Values.proxy }}
{{- if $proxy.enabled }}
{{- if not (and $proxy.image.repository (or $proxy.image.digest $proxy.image.tag)) }}
{{- fail "proxy.enabled needs proxy.image: the repository and the digest (or tag) of an image with the runtime" }}
{{- end }}
{{- if not .Values.runtime }}
{{- fail "proxy.enabled needs runtime, which has the settings of the proxy: for example {maxConcurrency: 8}" }}
{{- end }}
{{- if has (int $proxy.port) (list (int .Values.container.port) (int .Values.container.probePort)) }}
{{- fail "proxy.port is also container.port or container.probePort: the containers of a pod share its ports" }}
{{- end }}
{{- if eq (int .Values.service.port) (int .Values.container.probePort) }}
{{- fail "service.port is also container.probePort, which the Service has for KEDA" }}
{{- end }}
{{- else if and .Values.runtime (not .Values.runtime.path) }}
{{- fail "runtime.path is required: the file of the predictor, for example predictor.py" }}
{{- else if .Values.podMonitor.containerPath }}
{{- fail "podMonitor.containerPath needs proxy.enabled: without a proxy the path is metrics.path" }}
{{- end }}
{{- end }}

{{- define "predictor.checkScheduling" -}}
{{- $strategy := .Values.updateStrategy }}
{{- if and (eq $strategy.type "RollingUpdate") (has (toString $strategy.maxSurge) (list "0" "0%")) (has (toString $strategy.maxUnavailable) (list "0" "0%")) }}
{{- fail "updateStrategy.maxSurge and maxUnavailable are both 0: no pod could ever be replaced" }}
{{- end }}
{{- if not (include "predictor.hasGpu" .) }}
{{- range .Values.scheduling.tolerations }}
{{- if has (.key | default "") (list "" "nvidia.com/gpu" "amd.com/gpu" "habana.ai/gaudi" "aws.amazon.com/neuron" "google.com/tpu") }}
{{- fail (printf "scheduling.tolerations accepts the taint %q without asking for a GPU: the pods would occupy GPU nodes (put it under resources.gpu.tolerations)" (.key | default "*")) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "predictor.checkRoute" -}}
{{- $route := .Values.route }}
{{- if and (eq $route.type "httpRoute") (not $route.gateway.name) }}
{{- fail "route.type httpRoute needs route.gateway.name" }}
{{- end }}
{{- if eq $route.type "ingress" }}
{{- if and .Values.networkPolicy.enabled (not .Values.networkPolicy.gatewayNamespace) }}
{{- fail "route.type ingress needs networkPolicy.gatewayNamespace, the namespace of the ingress controller's pods, because the NetworkPolicy allows no other (or set networkPolicy.enabled to false)" }}
{{- end }}
{{- if include "predictor.intercepted" . }}
{{- fail "autoscaling.httpAddon needs route.type httpRoute or none: an Ingress cannot use a Service in another namespace" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "predictor.checkAutoscaling" -}}
{{- $autoscaling := .Values.autoscaling }}
{{- if gt (int $autoscaling.minReplicas) (int $autoscaling.maxReplicas) }}
{{- fail (printf "autoscaling.minReplicas (%d) is more than maxReplicas (%d)" (int $autoscaling.minReplicas) (int $autoscaling.maxReplicas)) }}
{{- end }}
{{- if and $autoscaling.inFlight.enabled (not $autoscaling.inFlight.prometheus.address) (not .Values.metrics.path) }}
{{- fail "autoscaling.inFlight without a Prometheus address needs a metrics.path, from which KEDA reads the gauge (or enable autoscaling.cpu instead)" }}
{{- end }}
{{- if and (not (kindIs "invalid" $autoscaling.fallback.replicas)) (gt (int $autoscaling.fallback.replicas) (int $autoscaling.maxReplicas)) }}
{{- fail (printf "autoscaling.fallback.replicas (%d) is more than maxReplicas (%d)" (int $autoscaling.fallback.replicas) (int $autoscaling.maxReplicas)) }}
{{- end }}
{{- range $autoscaling.cron }}
{{- if eq .start .end }}
{{- fail (printf "autoscaling.cron: the window starts and ends at %q; give two different times" .start) }}
{{- end }}
{{- if gt (int .replicas) (int $autoscaling.maxReplicas) }}
{{- fail (printf "autoscaling.cron: %d replicas are more than maxReplicas (%d)" (int .replicas) (int $autoscaling.maxReplicas)) }}
{{- end }}
{{- end }}
{{- end }}

{{/* A release's own metric does not exist while it is scaled to zero, so something else must wake it. */}}
{{- define "predictor.checkScaleToZero" -}}
{{- $autoscaling := .Values.autoscaling }}
{{- if eq (int $autoscaling.minReplicas) 0 }}
{{- $wakes := or $autoscaling.httpAddon.enabled (not (empty $autoscaling.cron)) }}
{{- range $autoscaling.triggers }}
{{- if not (has .type (list "cpu" "memory")) }}
{{- $wakes = true }}
{{- end }}
{{- end }}
{{- if not $wakes }}
{{- fail "autoscaling.minReplicas is 0 and nothing can wake the release: without a pod there are no requests in progress and no CPU to measure (enable httpAddon, add cron or triggers, or let minReplicas be 1)" }}
{{- end }}
{{- if and $autoscaling.inFlight.enabled (not $autoscaling.inFlight.prometheus.address) }}
{{- fail "autoscaling.inFlight without a Prometheus address cannot be used with minReplicas 0: KEDA finds no pod to read while the release is scaled to zero (set an address, or set autoscaling.inFlight.enabled to false)" }}
{{- end }}
{{- if not (kindIs "invalid" $autoscaling.fallback.replicas) }}
{{- fail "autoscaling.fallback.replicas cannot be used with minReplicas 0: a trigger that cannot be read would keep the release awake" }}
{{- end }}
{{- end }}
{{- end }}

{{/* What KEDA's admission webhook would refuse, or would not notice. */}}
{{- define "predictor.checkTriggers" -}}
{{- $autoscaling := .Values.autoscaling }}
{{- $names := list }}
{{- if $autoscaling.inFlight.enabled }}
{{- $names = append $names "in-flight" }}
{{- end }}
{{- if $autoscaling.httpAddon.enabled }}
{{- $names = append $names "http" }}
{{- end }}
{{- range $index, $_ := $autoscaling.cron }}
{{- $names = append $names (printf "cron-%d" $index) }}
{{- end }}
{{- $external := len $names }}
{{- if $autoscaling.cpu.enabled }}
{{- $names = append $names "cpu" }}
{{- end }}
{{- range $index, $trigger := $autoscaling.triggers }}
{{- $name := $trigger.name | default (printf "%s-%d" $trigger.type $index) }}
{{- if has $name $names }}
{{- fail (printf "two triggers of autoscaling are called %s" $name) }}
{{- end }}
{{- $names = append $names $name }}
{{- if has .type (list "cpu" "memory") }}
{{- if not (has (.metricType | default "") (list "Utilization" "AverageValue")) }}
{{- fail (printf "autoscaling.triggers: %s (%s) needs metricType Utilization or AverageValue" $name .type) }}
{{- end }}
{{- else }}
{{- $external = add1 $external }}
{{- end }}
{{- if and .useCachedMetrics (has .type (list "cpu" "memory" "cron")) }}
{{- fail (printf "autoscaling.triggers: %s (%s) cannot have useCachedMetrics" $name .type) }}
{{- end }}
{{- end }}
{{- range append .Values.autoscaling.triggers .Values.autoscaling.inFlight.prometheus }}
{{- if and .authentication .authenticationRef }}
{{- fail "a trigger of autoscaling has both authentication and authenticationRef: give one" }}
{{- end }}
{{- end }}
{{- if not $names }}
{{- fail "autoscaling is enabled without any trigger: enable inFlight, cpu or httpAddon, or add cron or triggers" }}
{{- end }}
{{- if and (not (kindIs "invalid" .Values.autoscaling.fallback.replicas)) (not $external) }}
{{- fail "autoscaling.fallback.replicas needs a trigger other than cpu and memory, for which KEDA has no fallback" }}
{{- end }}
{{- end }}
