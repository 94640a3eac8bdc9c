"""KEDA's scalers and their parameters, from the schema that KEDA publishes with 2.20.

KEDA accepts a trigger with a misspelt parameter without an error, and the API never scales.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scaler:
    """The allowed and the required parameters in the metadata of a trigger."""

    parameters: frozenset[str]
    required: tuple[str, ...]
    """Each of them may be given as ``<name>FromEnv`` where that is among the parameters."""
    is_open: bool
    """Whether it passes any other parameter to an external scaler."""


@functools.cache
def scalers() -> dict[str, Scaler]:
    """Every scaler by its trigger type."""
    known: dict[str, Scaler] = {}
    for entry in _TABLE.replace("\n  ", " ").strip().splitlines():
        name, _, entries = entry.partition(":")
        known[name] = _scaler(entries.split())
    return known


def _scaler(entries: list[str]) -> Scaler:
    names = {entry: entry.rstrip("~!") for entry in entries}
    from_env = {f"{name}FromEnv" for entry, name in names.items() if "~" in entry}
    required = tuple(name for entry, name in names.items() if entry.endswith("!"))
    return Scaler(frozenset({*names.values(), *from_env}), required, "*" in names)


# `!`: required. `~`: also as `<name>FromEnv`. `*`: any other parameter, too. Parameters that only a
# TriggerAuthentication may hold are not listed.
_TABLE = """
activemq: managementEndpoint destinationName brokerName username~ password~ corsHeader
  restAPITemplate targetQueueSize activationTargetQueueSize
apache-kafka: bootstrapServers~! consumerGroup~! topic~ partitionLimitation lagThreshold
  activationLagThreshold offsetResetPolicy allowIdleConsumers excludePersistentLag
  scaleToZeroOnInvalidOffset limitToPartitionsWithLag ensureEvenDistributionOfPartitions sasl
  awsRegion tls
arangodb: endpoints dbName collection! query! queryValue activationQueryValue unsafeSsl
  connectionLimit
artemis-queue: managementEndpoint queueName brokerName brokerAddress username~ password~
  restApiTemplate queueLength activationQueueLength corsHeader unsafeSsl
aws-cloudwatch: namespace metricName dimensionName dimensionValue expression targetMetricValue!
  activationTargetMetricValue minMetricValue! ignoreNullValues metricCollectionTime metricStat
  metricUnit metricStatPeriod metricEndTimeOffset awsAccountId awsRegion awsEndpoint
  identityOwner
aws-dynamodb: tableName! awsRegion awsEndpoint keyConditionExpression! indexName targetValue
  activationTargetValue filterExpression identityOwner expressionAttributeNames!
  expressionAttributeValues!
aws-dynamodb-streams: shardCount activationShardCount tableName! awsRegion awsEndpoint
  identityOwner
aws-kinesis-stream: shardCount activationShardCount streamName! awsRegion awsEndpoint
  identityOwner
aws-sqs-queue: queueLength activationQueueLength queueURL~! awsRegion awsEndpoint scaleOnInFlight
  scaleOnDelayed identityOwner
azure-app-insights: targetValue activationTargetValue metricId! metricAggregationTimespan!
  metricAggregationType! metricFilter ignoreNullValues cloud appInsightsResourceURL
  applicationInsightsId~ tenantId~ activeDirectoryClientId~ activeDirectoryClientPassword~
azure-blob: blobContainerName! blobCount activationBlobCount blobDelimiter blobPrefix recursive
  globPattern endpointSuffix connection~ connectionFromEnv~ accountName
azure-data-explorer: databaseName! endpoint! query! threshold! activationThreshold tenantId~
  clientId~
azure-eventhub: unprocessedEventThreshold activationUnprocessedEventThreshold
  stalePartitionInfoThreshold
azure-log-analytics: tenantId~ clientId~ clientSecret~ workspaceId~ query! threshold!
  activationThreshold logAnalyticsResourceURL cloud unsafeSsl timeout
azure-monitor: targetValue! activationTargetValue resourceURI! tenantId! subscriptionId!
  resourceGroupName! metricName! metricNamespace metricFilter metricAggregationInterval
  metricAggregationType! activeDirectoryClientId~ activeDirectoryClientPassword~ cloud
  azureResourceManagerEndpoint
azure-pipelines: organizationURL~ personalAccessToken~ parent demands poolName poolID
  targetPipelinesQueueLength activationTargetPipelinesQueueLength jobsToFetch
  fetchUnfinishedJobsOnly requireAllDemands requireAllDemandsAndIgnoreOthers
  caseInsensitiveDemandsProcessing
azure-queue: activationQueueLength queueName! queueLength connection~ accountName endpointSuffix
  queueLengthStrategy
azure-servicebus: messageCount activationMessageCount queueName topicName subscriptionName
  connection~ namespace useRegex operation
beanstalkd: server! tube! value! activationValue includeDelayed timeout
cassandra: username clusterIPAddress! port consistency protocolVersion keyspace! query!
  targetQueryValue! activationTargetQueryValue
couchdb: connectionString~ host port username password~ dbName query queryValue
  activationQueryValue
cpu: value! containerName
cron: start! end! timezone! desiredReplicas!
datadog: datadogMetricName datadogMetricNamespace activationTargetValue query queryAggregator
  activationQueryValue age timeWindowOffset lastAvailablePointOffset useClusterAgentProxy
  hpaMetricName metricUnavailableValue targetValue queryValue timeout
dynatrace: host metricSelector query queryTimeoutSeconds queryPollingWait queryPollingTries from
  threshold! activationThreshold
elastic-forecast: addresses unsafeSsl username password~ cloudID apiKey jobID! lookAhead
  targetValue! activationTargetValue index partitionFieldValue byFieldValue
elasticsearch: addresses unsafeSsl username password~ cloudID apiKey index searchTemplateName
  query parameters valueLocation targetValue activationTargetValue ignoreNullValues metricName
etcd: endpoints! watchKey! value! activationValue watchProgressNotifyInterval username~ password~
external: scalerAddress! enableTLS unsafeSsl *
external-push: scalerAddress! enableTLS unsafeSsl *
forgejo-runner: token~ address! labels! global owner org repo
gcp-cloudtasks: value activationValue filterDuration queueName! projectID! credentials~
  credentialsFromEnvFile~
gcp-pubsub: mode value activationValue aggregation timeHorizon valueIfNull subscriptionName~
  topicName~ credentials~ credentialsFromEnvFile~
gcp-stackdriver: projectId! filter! targetValue activationTargetValue valueIfNull filterDuration
  alignmentPeriodSeconds alignmentAligner alignmentReducer credentials~ credentialsFromEnvFile~
gcp-storage: bucketName! targetObjectCount activationTargetObjectCount maxBucketItemsToScan
  blobDelimiter blobPrefix credentials~ credentialsFromEnvFile~
github-runner: githubApiURL~ owner~! runnerScope~! repos~ labels~ noDefaultLabels~ enableEtags~
  matchUnlabeledJobsWithUnlabeledRunners~ targetWorkflowQueueLength~ applicationID~
  installationID~
graphite: serverAddress! query! threshold activationThreshold queryTime! authMode
huawei-cloudeye: namespace! metricName! dimensionName! dimensionValue! targetMetricValue!
  activationTargetMetricValue metricCollectionTime metricFilter metricPeriod
ibmmq: host! queueName queueNames queueDepth activationQueueDepth operation username~ password~
  unsafeSsl
influxdb: organizationName~ query! influxVersion queryType database metricKey serverURL unsafeSsl
  thresholdValue activationThresholdValue
kafka: bootstrapServers~! consumerGroup~! topic~ partitionLimitation lagThreshold
  activationLagThreshold offsetResetPolicy allowIdleConsumers excludePersistentLag
  scaleToZeroOnInvalidOffset limitToPartitionsWithLag ensureEvenDistributionOfPartitions version
  tls unsafeSsl sasl saslTokenProvider awsRegion
kubernetes-resource: resourceKind! resourceName! key! format valueLocation valueType targetValue!
  activationTargetValue
kubernetes-workload: podSelector! value activationValue groupByNode
liiklus: lagThreshold activationLagThreshold address! topic! group! groupVersion
loki: serverAddress! query! threshold! activationThreshold tenantName ignoreNullValues unsafeSsl
  authModes
memory: value! containerName
metrics-api: targetValue activationTargetValue url! format valueLocation! unsafeSsl
  aggregateFromKubeServiceEndpoints aggregationType timeout authMode authModes
mongodb: connectionString~ scheme host port username password~ dbName collection! query!
  queryValue! activationQueryValue
mssql: connectionString~ username password~ host port database query! targetValue!
  activationTargetValue
mysql: connectionString~ username~ password~ host port dbName query! queryValue!
  activationQueryValue metricName
nats-jetstream: account accountID stream! consumer! lagThreshold activationLagThreshold useHttps
  natsServerMonitoringEndpoint
new-relic: account region queryKey noDataError nrql! threshold! activationThreshold
nsq: nsqLookupdHTTPAddresses~! topic~! channel~! depthThreshold~ activationDepthThreshold~
  useHttps~ unsafeSsl~
opensearch: addresses unsafeSsl enableTLS username password~ caCert clientCert clientKey index
  searchTemplateName query parameters valueLocation targetValue activationTargetValue
  ignoreNullValues metricName
openstack-metric: metricsURL! metricID! aggregationMethod! granularity! threshold
  activationThreshold timeout
openstack-swift: swiftURL containerName! objectCount activationObjectCount objectPrefix
  objectDelimiter objectLimit timeout onlyFiles
postgresql: targetQueryValue activationTargetQueryValue connection~ query! host port userName
  dbName sslmode password~
predictkube: prometheusAddress! query! predictHorizon! queryStep! historyTimeWindow! threshold
  activationThreshold
prometheus: serverAddress! query! queryParameters threshold! activationThreshold namespace
  customHeaders ignoreNullValues unsafeSsl awsRegion timeout identityOwner authModes
pulsar: adminURL~! topic~! subscription~! msgBacklogThreshold activationMsgBacklogThreshold
  isPartitionedTopic tls
rabbitmq: queueName! mode queueLength value activationValue host~ protocol vhostName useRegex
  excludeUnacknowledged pageSize operation timeout username~ password~ unsafeSsl
redis: listLength activationListLength listName! databaseIndex enableTLS address~ addresses~
  username~ password~ sentinelUsername~ sentinelPassword~ sentinelMaster~ host~ hosts~ port~
  ports~ unsafeSsl
redis-cluster: listLength activationListLength listName! databaseIndex enableTLS address~
  addresses~ username~ password~ sentinelUsername~ sentinelPassword~ sentinelMaster~ host~ hosts~
  port~ ports~ unsafeSsl
redis-cluster-streams: pendingEntriesCount streamLength lagCount stream! consumerGroup
  databaseIndex address~ addresses~ username~ password~ sentinelUsername~ sentinelPassword~
  sentinelMaster~ host~ hosts~ port~ ports~ unsafeSsl activationLagCount enableTLS
redis-sentinel: listLength activationListLength listName! databaseIndex enableTLS address~
  addresses~ username~ password~ sentinelUsername~ sentinelPassword~ sentinelMaster~ host~ hosts~
  port~ ports~ unsafeSsl
redis-sentinel-streams: pendingEntriesCount streamLength lagCount stream! consumerGroup
  databaseIndex address~ addresses~ username~ password~ sentinelUsername~ sentinelPassword~
  sentinelMaster~ host~ hosts~ port~ ports~ unsafeSsl activationLagCount enableTLS
redis-streams: pendingEntriesCount streamLength lagCount stream! consumerGroup databaseIndex
  address~ addresses~ username~ password~ sentinelUsername~ sentinelPassword~ sentinelMaster~
  host~ hosts~ port~ ports~ unsafeSsl activationLagCount enableTLS
selenium-grid: url authType~ username~ password~ accessToken~ browserName sessionBrowserName
  browserVersion platformName activationThreshold unsafeSsl nodeMaxSessions
  enableManagedDownloads capabilities
solace-direct-messaging: solaceSempBaseURL! username~ password~ messageVpn! clientNamePattern!
  unsafeSSL queuedMessagesFactor aggregatedClientTxByteRateTarget
  aggregatedClientAverageTxByteRateTarget aggregatedClientTxMsgRateTarget
  aggregatedClientAverageTxMsgRateTarget activationAggregatedClientTxByteRateTarget
  activationAggregatedClientAverageTxByteRateTarget activationAggregatedClientTxMsgRateTarget
  activationAggregatedClientAverageTxMsgRateTarget
solace-event-queue: solaceSempBaseURL! messageVpn! queueName! username~ password~
  messageCountTarget messageSpoolUsageTarget messageReceiveRateTarget
  activationMessageCountTarget activationMessageSpoolUsageTarget
  activationMessageReceiveRateTarget
solarwinds: host! targetValue! activationValue metricName! aggregation! intervalS! filter
solr: host! collection! targetQueryValue! activationTargetQueryValue query username password
splunk: host! unsafeSsl targetValue! activationValue! savedSearchName! valueField!
splunk-observability: query! duration! targetValue! queryAggregator! activationTargetValue!
sumologic: host! unsafeSsl queryType! query query.* resultQueryRowID quantization rollup
  resultField logsPollingInterval maxRetries timerange! timezone activationThreshold
  queryAggregator threshold!
temporal: endpoint~! namespace~ activationTargetQueueSize targetQueueSize taskQueue~! queueTypes
  buildId~ workerDeploymentName~ workerDeploymentBuildId~ selectAllActive selectUnversioned
  apiKey~ minConnectTimeout unsafeSsl tlsServerName
"""
