{{- define "oncegate.name" -}}
{{- if contains "oncegate" .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}{{ printf "%s-oncegate" .Release.Name | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "oncegate.selector" -}}
app.kubernetes.io/name: oncegate
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: gateway
{{- end }}

{{- define "oncegate.labels" -}}
{{ include "oncegate.selector" . }}
{{ include "oncegate.commonLabels" . }}
{{- end }}

{{- define "oncegate.commonLabels" -}}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "oncegate.redis.selector" -}}
app.kubernetes.io/name: oncegate
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: redis
{{- end }}

{{- define "oncegate.redis.labels" -}}
{{ include "oncegate.redis.selector" . }}
{{ include "oncegate.commonLabels" . }}
{{- end }}

{{/* Nine tenths of a memory limit, as Go reads it. */}}
{{- define "oncegate.gomemlimit" -}}
{{- $limit := .Values.resources.limits.memory | toString }}
{{- if hasSuffix "Gi" $limit }}{{ div (mul (trimSuffix "Gi" $limit | atoi) 1024 9) 10 }}MiB
{{- else if hasSuffix "Mi" $limit }}{{ div (mul (trimSuffix "Mi" $limit | atoi) 9) 10 }}MiB
{{- else }}{{ fail (printf "resources.limits.memory is %s, and must be in Mi or Gi: GOMEMLIMIT follows from it" $limit) }}
{{- end }}
{{- end }}

{{/* What makes no sense stops the installation with a sentence. */}}
{{- define "oncegate.validate" -}}
{{- $redis := .Values.redis }}
{{- if not .Values.existingSecret }}
{{- fail "existingSecret is missing: kubectl create secret generic oncegate --from-literal=admin-token=$(openssl rand -hex 16), and existingSecret=oncegate" }}
{{- end }}
{{- if and $redis.enabled (or $redis.url $redis.existingSecretUrlKey) }}
{{- fail "redis.enabled is true beside another Redis: set it to false" }}
{{- end }}
{{- if not (or $redis.enabled $redis.url $redis.existingSecretUrlKey) }}
{{- fail "no Redis: set redis.enabled, redis.url, or redis.existingSecret and redis.existingSecretUrlKey" }}
{{- end }}
{{- if and (or $redis.existingSecretUrlKey $redis.existingSecretPasswordKey $redis.existingSecretSentinelPasswordKey) (not $redis.existingSecret) }}
{{- fail "redis.existingSecret is missing: a key of it is named" }}
{{- end }}
{{- if and .Values.ingress.enabled .Values.networkPolicy.enabled (not .Values.networkPolicy.callers) }}
{{- fail "networkPolicy.callers must name the pods of the Ingress controller, or it reaches nothing" }}
{{- end }}
{{- if and .Values.existingSecretApiKeysKey (hasKey .Values.settings "tenants") }}
{{- fail "existingSecretApiKeysKey stands beside settings.tenants: give each tenant an api_keys_file, by extraVolumes" }}
{{- end }}
{{- range $setting := list "drain_delay" "shutdown_timeout" "listen" "admin_listen" }}
{{- if hasKey $.Values.settings $setting }}
{{- fail (printf "settings.%s is this chart's: see drainDelaySeconds and shutdownTimeoutSeconds" $setting) }}
{{- end }}
{{- end }}
{{- $sections := dict "settings" .Values.settings }}
{{- range $tenant, $own := .Values.settings.tenants }}{{ $_ := set $sections (printf "settings.tenants.%s" $tenant) $own }}{{ end }}
{{- range $section, $of := $sections }}
{{- range $secret := list "admin_token" "inbound_api_keys" "redis_url" "redis_password" "redis_sentinel_password" "upstream_headers" "upstream_oauth_client_secret" "api_keys" "signature_secret" }}
{{- range $block := list "" "upstream" "signature" }}
{{- $own := ternary $of (get $of $block) (eq $block "") }}
{{- $name := trimPrefix (printf "%s_" $block) $secret }}
{{- if and (kindIs "map" $own) (hasKey $own $name) }}
{{- fail (printf "%s.%s is a secret, and would stand in a ConfigMap: give a Secret by existingSecret, redis.existingSecret, extraEnvVars, or extraVolumes and a name that ends in _file" $section $secret) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- if regexMatch "://[^@/]*@" $redis.url }}
{{- fail "redis.url holds a password: put the URL into a Secret, and name it by redis.existingSecret and redis.existingSecretUrlKey" }}
{{- end }}
{{- end }}
