{{- define "evergate.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 63 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 63 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "evergate.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "evergate.labels" -}}
{{ include "evergate.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "evergate.secret" -}}
{{- if .Values.secrets }}{{ printf "%s-files" (include "evergate.name" .) }}{{ else }}{{ .Values.existingSecret }}{{ end }}
{{- end }}

{{- define "evergate.hasSecret" -}}
{{- if or .Values.existingSecret .Values.secrets }}yes{{ end }}
{{- end }}

{{- /* Whether `config` has pools, which are one gateway's. */}}
{{- define "evergate.hasPools" -}}
{{- if regexMatch "(?m)^[ \\t]*(\\[\\[[ \\t]*[\"']?pool[\"']?[ \\t]*\\]\\]|[\"']?pool[\"']?[ \\t]*=[ \\t]*\\[)" .Values.config }}yes{{ end }}
{{- end }}

{{- /* metrics.port, else the first port in the section [metrics] of `config`, comments left out. */}}
{{- define "evergate.metricsPort" -}}
{{- $section := regexFind "(?m)^[ \\t]*\\[[ \\t]*metrics[ \\t]*\\][^\\n]*\\n(?:[ \\t]*(?:[^\\[\\s].*)?(?:\\n|\\z))*" .Values.config }}
{{- $found := regexReplaceAll "(?m)#.*$" $section "" | regexFind ":[0-9]+[\"']" | trimAll ":\"'" }}
{{- .Values.metrics.port | default $found }}
{{- end }}
