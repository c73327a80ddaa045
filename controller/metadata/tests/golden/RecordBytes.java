// Prints what stands in records.txt. With the jars of Apache Kafka 4.3.1: java -cp 'libs/*' RecordBytes.java
import org.apache.kafka.common.*;
import org.apache.kafka.common.metadata.*;
import org.apache.kafka.common.protocol.*;
import org.apache.kafka.metadata.*;
import org.apache.kafka.server.common.*;
import org.apache.kafka.server.common.serialization.*;
import java.util.*;
public class RecordBytes {
 static MetadataRecordSerde serde = new MetadataRecordSerde();
 static void p(String n, ApiMessage m, int v) {
  var r = new ApiMessageAndVersion(m,(short)v);
  var c = new ObjectSerializationCache();
  int size = serde.recordSize(r,c);
  var b = java.nio.ByteBuffer.allocate(size);
  serde.write(r,c,new ByteBufferAccessor(b));
  System.out.println(n+" "+HexFormat.of().formatHex(b.array()));
 }
 public static void main(String[] a){
  Uuid t=new Uuid(0x0102030405060708L,0x090a0b0c0d0e0f10L), d=new Uuid(0x1112131415161718L,0x191a1b1c1d1e1f20L);
  p("topic", new TopicRecord().setName("logs").setTopicId(t),0);
  p("remove_topic", new RemoveTopicRecord().setTopicId(t),0);
  p("partition", new PartitionRecord().setPartitionId(3).setTopicId(t).setReplicas(List.of(1,2)).setIsr(List.of(1)).setLeader(1).setLeaderEpoch(4).setPartitionEpoch(5).setDirectories(List.of(d,DirectoryId.UNASSIGNED)),2);
  p("partition_full", new PartitionRecord().setPartitionId(3).setTopicId(t).setReplicas(List.of(1,2,3)).setIsr(List.of(1)).setRemovingReplicas(List.of(2)).setAddingReplicas(List.of(3)).setLeader(1).setLeaderRecoveryState((byte)1).setLeaderEpoch(4).setPartitionEpoch(5).setDirectories(List.of(d,d,d)).setEligibleLeaderReplicas(List.of(2)).setLastKnownElr(List.of(3)),2);
  p("partition_v1", new PartitionRecord().setPartitionId(0).setTopicId(t).setReplicas(List.of(1)).setIsr(List.of(1)).setLeader(1).setLeaderEpoch(0).setPartitionEpoch(0).setDirectories(List.of(d)),1);
  p("partition_v0", new PartitionRecord().setPartitionId(0).setTopicId(t).setReplicas(List.of(1)).setIsr(List.of(1)).setLeader(1).setLeaderEpoch(0).setPartitionEpoch(0),0);
  p("partition_change", new PartitionChangeRecord().setPartitionId(3).setTopicId(t).setIsr(List.of(1,2)).setLeader(2),2);
  p("partition_change_full", new PartitionChangeRecord().setPartitionId(3).setTopicId(t).setIsr(List.of()).setLeader(-1).setReplicas(List.of(2)).setRemovingReplicas(List.of()).setAddingReplicas(List.of(3)).setLeaderRecoveryState((byte)1).setEligibleLeaderReplicas(List.of(1)).setLastKnownElr(List.of(2)).setDirectories(List.of(d)),2);
  p("partition_change_empty", new PartitionChangeRecord().setPartitionId(3).setTopicId(t),2);
  p("config", new ConfigRecord().setResourceType((byte)2).setResourceName("logs").setName("retention.ms").setValue("1000"),0);
  p("config_removed", new ConfigRecord().setResourceType((byte)4).setResourceName("").setName("k").setValue(null),0);
  p("feature_level", new FeatureLevelRecord().setName("metadata.version").setFeatureLevel((short)30),0);
  p("producer_ids", new ProducerIdsRecord().setBrokerId(1).setBrokerEpoch(7).setNextProducerId(1000),0);
  p("no_op", new NoOpRecord(),0);
  p("clear_elr", new ClearElrRecord().setTopicName("logs"),0);
  p("fence", new FenceBrokerRecord().setId(1).setEpoch(7),0);
  p("unfence", new UnfenceBrokerRecord().setId(1).setEpoch(7),0);
  p("unregister", new UnregisterBrokerRecord().setBrokerId(1).setBrokerEpoch(7),0);
  var ep=new RegisterBrokerRecord.BrokerEndpointCollection(); ep.add(new RegisterBrokerRecord.BrokerEndpoint().setName("PLAINTEXT").setHost("localhost").setPort(9092).setSecurityProtocol((short)0));
  var f=new RegisterBrokerRecord.BrokerFeatureCollection(); f.add(new RegisterBrokerRecord.BrokerFeature().setName("metadata.version").setMinSupportedVersion((short)7).setMaxSupportedVersion((short)30));
  p("register", new RegisterBrokerRecord().setBrokerId(1).setIncarnationId(t).setBrokerEpoch(11).setEndPoints(ep).setFeatures(f).setRack(null).setFenced(true).setLogDirs(List.of(d)),4);
  p("register_full", new RegisterBrokerRecord().setBrokerId(1).setIncarnationId(t).setBrokerEpoch(11).setEndPoints(ep).setFeatures(f).setRack("r1").setFenced(false).setInControlledShutdown(true).setLogDirs(List.of(d)).setCordonedLogDirs(List.of()),4);
  p("register_v0", new RegisterBrokerRecord().setBrokerId(1).setIncarnationId(t).setBrokerEpoch(11).setEndPoints(ep).setFeatures(f).setRack(null).setFenced(true),0);
  p("change_unfenced", new BrokerRegistrationChangeRecord().setBrokerId(1).setBrokerEpoch(11).setFenced((byte)-1),0);
  p("change_shutdown", new BrokerRegistrationChangeRecord().setBrokerId(1).setBrokerEpoch(11).setInControlledShutdown((byte)1),1);
  p("change_log_dirs", new BrokerRegistrationChangeRecord().setBrokerId(1).setBrokerEpoch(11).setLogDirs(List.of(d)),2);
  p("change_cordoned", new BrokerRegistrationChangeRecord().setBrokerId(1).setBrokerEpoch(11).setCordonedLogDirs(List.of(d)),3);
 }}
