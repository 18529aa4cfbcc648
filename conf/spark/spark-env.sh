# A laptop's host name often resolves to nothing, or to yesterday's network; all of this is local.
export SPARK_LOCAL_IP="${SPARK_LOCAL_IP:-127.0.0.1}"

# Log lines of Spark itself as those of the jobs (headwater/logs.py): JSON where nobody watches.
case "${HEADWATER_LOG_FORMAT:-auto}" in
    json) export SPARK_LOG_APPENDER=json ;;
    auto) [ -t 2 ] || export SPARK_LOG_APPENDER=json ;;
esac
