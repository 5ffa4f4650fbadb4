{{/* Scales a workload by the build requests that wait. Takes root, name, kind and autoscaling. */}}
{{- define "muster.autoscaling" }}
{{- $target := printf "%s-%s" (include "muster.fullname" .root) .name }}
{{- if eq .autoscaling.type "hpa" }}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: {{ $target }}
  labels: {{- include "muster.labels" .root | nindent 4 }}
    app.kubernetes.io/component: {{ .name }}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: {{ .kind }}, name: {{ $target }}}
  minReplicas: {{ .autoscaling.minReplicas }}
  maxReplicas: {{ .autoscaling.maxReplicas }}
  metrics:
    - type: External
      external:
        metric:
          name: muster_build_requests_pending
          selector:
            matchLabels: {namespace: {{ .root.Release.Namespace }}}
        target: {type: AverageValue, averageValue: {{ .autoscaling.pendingPerReplica | quote }}}
  behavior:
    # Draining costs more than a pod that idles for a while.
    scaleDown: {stabilizationWindowSeconds: 600}
{{- else if eq .autoscaling.type "keda" }}
---
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  name: {{ $target }}
  labels: {{- include "muster.labels" .root | nindent 4 }}
    app.kubernetes.io/component: {{ .name }}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: {{ .kind }}, name: {{ $target }}}
  minReplicaCount: {{ .autoscaling.minReplicas }}
  maxReplicaCount: {{ .autoscaling.maxReplicas }}
  cooldownPeriod: 600
  triggers:
    - type: prometheus
      metricType: AverageValue
      metadata:
        serverAddress: {{ .root.Values.keda.prometheusUrl | quote }}
        # Every master tells the same figure, that of the whole cluster.
        query: max(muster_build_requests_pending{namespace="{{ .root.Release.Namespace }}"})
        threshold: {{ .autoscaling.pendingPerReplica | quote }}
{{- end }}
{{- end }}
