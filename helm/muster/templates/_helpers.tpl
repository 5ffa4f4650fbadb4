{{- define "muster.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{ trunc 40 $full | trimSuffix "-" }}
{{- end }}

{{- define "muster.image" -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end }}

{{/* Selects all pods of the release. */}}
{{- define "muster.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "muster.labels" -}}
{{ include "muster.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{/* The groups that are enabled, each with what `defaults` says it has: a JSON object, name to group. */}}
{{- define "muster.groups" -}}
{{- $groups := dict -}}
{{- range $name, $group := .Values.masters -}}
{{- if dig "enabled" true $group -}}
{{- $_ := set $groups $name (mergeOverwrite (dict "kind" "StatefulSet" "replicas" 1 "updateStrategy" "RollingUpdate" "terminationGracePeriodSeconds" 120 "resources" dict) (deepCopy $.Values.defaults) (deepCopy $group)) -}}
{{- end -}}
{{- end -}}
{{ toJson $groups }}
{{- end }}

{{/* How many masters there may be at most. */}}
{{- define "muster.masterCount" -}}
{{- $count := 0 -}}
{{- range include "muster.groups" . | fromJson -}}
{{- if eq .autoscaling.type "none" -}}
{{- $count = add $count .replicas -}}
{{- else -}}
{{- $count = add $count .autoscaling.maxReplicas -}}
{{- end -}}
{{- end -}}
{{ $count }}
{{- end }}

{{- define "muster.workerCount" -}}
{{- if not .Values.workers.enabled }}1{{ else if eq .Values.workers.autoscaling.type "none" }}{{ .Values.workers.replicas }}{{ else }}{{ .Values.workers.autoscaling.maxReplicas }}{{ end -}}
{{- end }}

{{- define "muster.publicUrl" -}}
{{- if .Values.publicUrl -}}
{{ .Values.publicUrl }}
{{- else if .Values.ingress.enabled -}}
{{ ternary "https" "http" (not (empty .Values.ingress.tlsSecretName)) }}://{{ .Values.ingress.host }}{{ trimSuffix "/" .Values.ingress.path }}/
{{- else -}}
http://localhost:8010/
{{- end -}}
{{- end }}

{{- define "muster.routerUrl" -}}
{{- if eq .Values.router.type "external" }}{{ .Values.router.url }}{{ else if eq .Values.router.type "bundled" }}ws://{{ include "muster.fullname" . }}-router:8080/ws{{ end -}}
{{- end }}

{{- define "muster.sessionUrl" -}}
{{ default (printf "ws://%s-workers:%d" (include "muster.fullname" .) (int .Values.service.workers.sessionPort)) .Values.service.workers.sessionUrl }}
{{- end }}

{{/* What master.cfg may read from its environment. */}}
{{- define "muster.configEnv" -}}
{{- if eq .Values.database.type "bundled" }}
- name: DATABASE_PASSWORD
  valueFrom:
    secretKeyRef: {name: {{ .Values.database.secretName }}, key: {{ .Values.database.passwordKey }}}
- name: DATABASE_URL
  value: postgresql://{{ .Values.database.bundled.user }}:$(DATABASE_PASSWORD)@{{ include "muster.fullname" . }}-postgresql:5432/{{ .Values.database.bundled.database }}
{{- else }}
- name: DATABASE_URL
  valueFrom:
    secretKeyRef: {name: {{ .Values.database.secretName }}, key: {{ .Values.database.urlKey }}}
{{- end }}
{{- with include "muster.routerUrl" . }}
- name: ROUTER_URL
  value: {{ . }}
{{- end }}
- name: BUILDBOT_URL
  value: {{ include "muster.publicUrl" . | quote }}
- name: WORKERS
  value: {{ include "muster.workerCount" . | quote }}
{{- if .Values.workers.enabled }}
- name: WORKER_PASSWORD
  valueFrom:
    secretKeyRef: {name: {{ .Values.workers.secretName }}, key: {{ .Values.workers.passwordKey }}}
{{- end }}
{{- with .Values.service.workers }}
- name: SESSION_PORT
  value: {{ .sessionPort | quote }}
{{- if .pbPort }}
- name: PB_PORT
  value: {{ .pbPort | quote }}
{{- end }}
{{- if .msgpackPort }}
- name: MSGPACK_PORT
  value: {{ .msgpackPort | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* Writes the configuration into the master's directory, and refuses one that can't be loaded. Takes root and config (the ConfigMap's name). */}}
{{- define "muster.configContainers" -}}
{{- $root := .root -}}
{{- $config := $root.Values.config -}}
- name: config
  image: {{ include "muster.image" $root }}
  imagePullPolicy: {{ $root.Values.image.pullPolicy }}
  securityContext: {{- toYaml $root.Values.securityContext | nindent 4 }}
  command: [/bin/sh, -euc]
  args:
    - |
      {{- if eq $config.source "git" }}
      if [ -e /secret/ssh-privatekey ]; then
          install -m 600 /secret/ssh-privatekey /tmp/key
          export GIT_SSH_COMMAND="ssh -i /tmp/key -o UserKnownHostsFile=/secret/known_hosts"
      elif [ -e /secret/.git-credentials ]; then
          git config --file /tmp/gitconfig credential.helper "store --file /secret/.git-credentials"
          export GIT_CONFIG_GLOBAL=/tmp/gitconfig
      fi
      git init --quiet /tmp/config
      git -C /tmp/config fetch --quiet --depth 1 "$CONFIG_URL" "$CONFIG_REVISION"
      git -C /tmp/config checkout --quiet FETCH_HEAD
      cp -RL "/tmp/config/$CONFIG_DIRECTORY/." /var/lib/muster/
      {{- else if eq $config.source "image" }}
      cp -RL {{ $config.image.directory | quote }}/. /var/lib/muster/
      {{- else }}
      cp -L /config/* /var/lib/muster/
      {{- end }}
  {{- if eq $config.source "git" }}
  env:
    - {name: CONFIG_URL, value: {{ $config.git.url | quote }}}
    - {name: CONFIG_REVISION, value: {{ $config.git.revision | quote }}}
    - {name: CONFIG_DIRECTORY, value: {{ $config.git.directory | quote }}}
  {{- end }}
  volumeMounts:
    - {name: home, mountPath: /var/lib/muster}
    - {name: tmp, mountPath: /tmp}
    {{- if has $config.source (list "configMap" "existingConfigMap") }}
    - {name: config, mountPath: /config, readOnly: true}
    {{- end }}
    {{- if $config.git.secretName }}
    - {name: git-secret, mountPath: /secret, readOnly: true}
    {{- end }}
- name: check
  image: {{ include "muster.image" $root }}
  imagePullPolicy: {{ $root.Values.image.pullPolicy }}
  securityContext: {{- toYaml $root.Values.securityContext | nindent 4 }}
  args: [checkconfig, /var/lib/muster]
  terminationMessagePolicy: FallbackToLogsOnError
  env: {{- include "muster.configEnv" $root | nindent 4 }}
    {{- with .env }}{{- toYaml . | nindent 4 }}{{- end }}
  {{- with .envFrom }}
  envFrom: {{- toYaml . | nindent 4 }}
  {{- end }}
  volumeMounts:
    - {name: home, mountPath: /var/lib/muster}
    - {name: tmp, mountPath: /tmp}
    {{- with .volumeMounts }}{{- toYaml . | nindent 4 }}{{- end }}
{{- end }}

{{/* Takes root and config (the ConfigMap's name). */}}
{{- define "muster.volumes" -}}
- name: home
  emptyDir: {}
- name: tmp
  emptyDir: {}
{{- if has .root.Values.config.source (list "configMap" "existingConfigMap") }}
- name: config
  configMap: {name: {{ .config }}}
{{- end }}
{{- with .root.Values.config.git.secretName }}
- name: git-secret
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- end }}

{{- define "muster.configMapName" -}}
{{- if eq .Values.config.source "existingConfigMap" }}{{ .Values.config.existingConfigMap }}{{ else }}{{ include "muster.fullname" . }}-config{{ end -}}
{{- end }}

{{- define "muster.configData" -}}
master.cfg: |
  {{- default (.Files.Get "files/master.cfg") .Values.config.masterCfg | nindent 2 }}
{{- range $name, $text := .Values.config.files }}
{{ $name }}: |
  {{- $text | nindent 2 }}
{{- end }}
{{- end }}

{{/* Spreads pods. Takes keys and labels. */}}
{{- define "muster.spread" -}}
{{- range .keys }}
- maxSkew: 1
  topologyKey: {{ . }}
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels: {{- $.labels | nindent 6 }}
{{- end }}
{{- end }}

{{/* Who may ask for metrics. */}}
{{- define "muster.metricsFrom" -}}
{{- with .Values.networkPolicy.metricsFrom }}{{ toYaml . }}{{ else }}- podSelector: {}{{ end -}}
{{- end }}
