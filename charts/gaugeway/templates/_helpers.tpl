{{- define "gaugeway.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "gaugeway.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else if contains (include "gaugeway.name" .) .Release.Name }}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "gaugeway.name" .) | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "gaugeway.selectorLabels" -}}
app.kubernetes.io/name: {{ include "gaugeway.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "gaugeway.labels" -}}
{{ include "gaugeway.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "gaugeway.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end }}
{{- end }}

{{- define "gaugeway.tokenSecret" -}}
{{ .Values.tokenKey.existingSecret | default (printf "%s-token-key" (include "gaugeway.fullname" .)) }}
{{- end }}

{{/* Its own Lease, in its own namespace. Creating cannot be granted by name. */}}
{{- define "gaugeway.leaseRules" -}}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [{{ include "gaugeway.fullname" . }}]
  verbs: [get, update, watch]
{{- end }}

{{/* Its own Secret, likewise. It is never changed, nor is another read. */}}
{{- define "gaugeway.secretRules" -}}
- apiGroups: [""]
  resources: [secrets]
  verbs: [create]
- apiGroups: [""]
  resources: [secrets]
  resourceNames: [{{ include "gaugeway.tokenSecret" . }}]
  verbs: [list, watch]
{{- end }}

{{/* Whether the apis port is open. */}}
{{- define "gaugeway.apis" -}}
{{- if or .Values.apis.enabled .Values.metricsAPI.enabled }}true{{ end }}
{{- end }}

{{/* The Secret with a certificate of somebody else's for that port, if it is open. */}}
{{- define "gaugeway.apisSecret" -}}
{{- if .Values.apis.enabled }}{{ .Values.apis.existingSecret }}{{ end }}
{{- end }}

{{/* Whether the controller makes that port's certificate. */}}
{{- define "gaugeway.apisMade" -}}
{{- if and (include "gaugeway.apis" .) (not .Values.apis.existingSecret) }}true{{ end }}
{{- end }}

{{/* The Secret with the certificate that it makes: rotated, and read by all replicas. */}}
{{- define "gaugeway.apisRules" -}}
- apiGroups: [""]
  resources: [secrets]
  verbs: [create]
- apiGroups: [""]
  resources: [secrets]
  resourceNames: [{{ include "gaugeway.fullname" . }}-apis]
  verbs: [get, update]
{{- end }}

{{/* What the controller may do to the objects that it watches. */}}
{{- define "gaugeway.rules" -}}
- apiGroups: [""]
  resources: [services, pods]
  verbs: [list, watch]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [list, watch]
- apiGroups: [apps]
  resources: [replicasets]
  verbs: [list, watch]
- apiGroups: [gateway.networking.k8s.io]
  resources: [gateways, httproutes, grpcroutes, referencegrants]
  verbs: [list, watch]
- apiGroups: [networking.k8s.io]
  resources: [ingresses]
  verbs: [list, watch]
- apiGroups: [gaugeway.dev]
  resources: [latencypolicies]
  verbs: [list, watch]
- apiGroups: [gaugeway.dev]
  resources: [latencypolicies/status]
  verbs: [patch]
{{- end }}

{{/* Of the cluster; no Role can grant it. */}}
{{- define "gaugeway.clusterRules" -}}
- apiGroups: [networking.k8s.io]
  resources: [ingressclasses]
  verbs: [list, watch]
{{- end }}

{{/* The extensions of Kong's operator, what names them, and the data planes that they are about. None is written. */}}
{{- define "gaugeway.extensionRules" -}}
- apiGroups: [gateway-operator.konghq.com]
  resources: [dataplanemetricsextensions, controlplanes, gatewayconfigurations]
  verbs: [list, watch]
- apiGroups: [gateway-operator.konghq.com]
  resources: [dataplanes]
  verbs: [list]
{{- end }}

{{/* Their classes name GatewayConfigurations. */}}
{{- define "gaugeway.extensionClusterRules" -}}
- apiGroups: [gateway.networking.k8s.io]
  resources: [gatewayclasses]
  verbs: [list, watch]
{{- end }}

{{/* What it writes for gateways. An apply that creates needs both patch and create. */}}
{{- define "gaugeway.deployRules" -}}
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes]
  verbs: [get, create, patch, delete]
- apiGroups: [gateway.envoyproxy.io]
  resources: [envoyextensionpolicies, envoypatchpolicies]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [extensions.istio.io]
  resources: [wasmplugins]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [gaugeway.dev]
  resources: [latencypolicies]
  verbs: [patch]
{{- if .Values.deploy.kong }}
- apiGroups: [configuration.konghq.com]
  resources: [kongplugins]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [gateway.networking.k8s.io]
  resources: [grpcroutes]
  verbs: [patch]
- apiGroups: [networking.k8s.io]
  resources: [ingresses]
  verbs: [patch]
- apiGroups: [gateway-operator.konghq.com]
  resources: [dataplanes]
  verbs: [list]
{{- end }}
{{- end }}

{{/* In its own namespace: who may reach its filters port, and whether every replica serves the module. */}}
{{- define "gaugeway.deployOwnRules" -}}
- apiGroups: [gateway.networking.k8s.io]
  resources: [referencegrants]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [list, watch]
{{- end }}

{{- define "gaugeway.deployClusterRules" -}}
- apiGroups: [gateway.networking.k8s.io]
  resources: [gatewayclasses]
  verbs: [list, watch]
{{- end }}
