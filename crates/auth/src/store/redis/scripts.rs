//! The scripts that the server does, each as a whole or not at all (Lua). `KEYS` is not used: this is one server, not a cluster.

/// What the scripts share. `note` comes before all that it is about: a script that fails has written nothing then.
macro_rules! script {
    ($body:literal) => {
        concat!(
            "local P = 'doorward:'
            local function note(line, kept)
                local revision = redis.call('INCR', P .. 'revision')
                redis.call('XADD', P .. 'changes', 'MAXLEN', kept, string.format('%.0f-0', revision), 'what', line)
            end
            local function set(key, first)
                for i = first, #ARGV, 2 do redis.call('HSET', key, ARGV[i], ARGV[i + 1]) end
            end
            local function records(kind, ids)
                local found = {}
                for _, id in ipairs(ids) do
                    local fields = redis.call('HGETALL', P .. kind .. id)
                    if #fields > 0 then found[#found + 1] = {id, fields} end
                end
                return found
            end
            local function forget_session(id, owner)
                redis.call('DEL', P .. 'session:' .. id)
                redis.call('ZREM', P .. 'sessions', id)
                redis.call('ZREM', P .. 'sessions:' .. owner, id)
                redis.call('ZREM', P .. 'sessions_by_expiry', id)
            end
            ",
            $body
        )
    };
}

pub(super) const OPEN: &str = script!(
    "redis.call('SETNX', P .. 'version', ARGV[1]) return tonumber(redis.call('GET', P .. 'version'))"
);

/// ARGV: kept, line, id, name, fields.
pub(super) const ADD_USER: &str = script!(
    "if redis.call('EXISTS', P .. 'user:' .. ARGV[3]) == 1 or redis.call('HEXISTS', P .. 'names', ARGV[4]) == 1 then
        return 'taken'
    end
    note(ARGV[2], ARGV[1])
    set(P .. 'user:' .. ARGV[3], 5)
    redis.call('HSET', P .. 'names', ARGV[4], ARGV[3])
    redis.call('ZADD', P .. 'users', 0, ARGV[4])
    return 'done'"
);

/// ARGV: name.
pub(super) const USER_BY_NAME: &str =
    script!("return records('user:', {redis.call('HGET', P .. 'names', ARGV[1]) or ''})");

/// ARGV: the kind of record, id.
pub(super) const ONE: &str = script!("return records(ARGV[1], {ARGV[2]})");

/// ARGV: from which name, how many.
pub(super) const USERS: &str = script!(
    "local ids = {}
    for _, name in ipairs(redis.call('ZRANGEBYLEX', P .. 'users', ARGV[1], '+', 'LIMIT', 0, ARGV[2])) do
        ids[#ids + 1] = redis.call('HGET', P .. 'names', name)
    end
    return records('user:', ids)"
);

/// ARGV: the kind of record, the sorted set, from which id, how many.
pub(super) const LIST: &str = script!(
    "return records(ARGV[1], redis.call('ZRANGEBYLEX', P .. ARGV[2], ARGV[3], '+', 'LIMIT', 0, ARGV[4]))"
);

/// ARGV: kept, line, the record, field, value or nothing.
pub(super) const CHANGE: &str = script!(
    "if redis.call('EXISTS', P .. ARGV[3]) == 0 then return 'missing' end
    note(ARGV[2], ARGV[1])
    if ARGV[5] then redis.call('HSET', P .. ARGV[3], ARGV[4], ARGV[5]) else redis.call('HDEL', P .. ARGV[3], ARGV[4]) end
    return 'done'"
);

/// ARGV: kept, line, id, scopes, groups, address or nothing.
pub(super) const CHANGE_USER: &str = script!(
    "local user = P .. 'user:' .. ARGV[3]
    if redis.call('EXISTS', user) == 0 then return 'missing' end
    note(ARGV[2], ARGV[1])
    redis.call('HSET', user, 'scopes', ARGV[4])
    redis.call('HSET', user, 'groups', ARGV[5])
    if ARGV[6] then redis.call('HSET', user, 'email', ARGV[6]) else redis.call('HDEL', user, 'email') end
    return 'done'"
);

/// ARGV: id, owner, fields.
pub(super) const ADD_KEY: &str = script!(
    "if redis.call('EXISTS', P .. 'user:' .. ARGV[2]) == 0 then return 'nobody' end
    if redis.call('EXISTS', P .. 'key:' .. ARGV[1]) == 1 then return 'taken' end
    set(P .. 'key:' .. ARGV[1], 3)
    redis.call('ZADD', P .. 'keys', 0, ARGV[1])
    redis.call('ZADD', P .. 'keys:' .. ARGV[2], 0, ARGV[1])
    return 'done'"
);

/// ARGV: kept, line, old id, until, id, owner, fields.
pub(super) const ROTATE_KEY: &str = script!(
    "local old = P .. 'key:' .. ARGV[3]
    if redis.call('EXISTS', old) == 0 then return 'missing' end
    if redis.call('HGET', old, 'revoked') == '1' then return 'revoked' end
    if redis.call('EXISTS', P .. 'user:' .. ARGV[6]) == 0 then return 'nobody' end
    if redis.call('EXISTS', P .. 'key:' .. ARGV[5]) == 1 then return 'taken' end
    note(ARGV[2], ARGV[1])
    local expires = redis.call('HGET', old, 'expires')
    if not expires or tonumber(expires) > tonumber(ARGV[4]) then redis.call('HSET', old, 'expires', ARGV[4]) end
    set(P .. 'key:' .. ARGV[5], 7)
    redis.call('ZADD', P .. 'keys', 0, ARGV[5])
    redis.call('ZADD', P .. 'keys:' .. ARGV[6], 0, ARGV[5])
    return 'done'"
);

/// ARGV: the kind of record, field, then ids and times.
pub(super) const TOUCH: &str = script!(
    "for i = 3, #ARGV, 2 do
        local key = P .. ARGV[1] .. ARGV[i]
        if redis.call('EXISTS', key) == 1 then
            local last = redis.call('HGET', key, ARGV[2])
            if not last or tonumber(last) < tonumber(ARGV[i + 1]) then redis.call('HSET', key, ARGV[2], ARGV[i + 1]) end
        end
    end
    return 'done'"
);

/// ARGV: id, owner, when it expires, fields.
pub(super) const ADD_SESSION: &str = script!(
    "if redis.call('EXISTS', P .. 'user:' .. ARGV[2]) == 0 then return 'nobody' end
    if redis.call('EXISTS', P .. 'session:' .. ARGV[1]) == 1 then return 'taken' end
    set(P .. 'session:' .. ARGV[1], 4)
    redis.call('ZADD', P .. 'sessions', 0, ARGV[1])
    redis.call('ZADD', P .. 'sessions:' .. ARGV[2], 0, ARGV[1])
    redis.call('ZADD', P .. 'sessions_by_expiry', ARGV[3], ARGV[1])
    return 'done'"
);

/// ARGV: kept, line, id.
pub(super) const DELETE_SESSION: &str = script!(
    "local owner = redis.call('HGET', P .. 'session:' .. ARGV[3], 'owner')
    if not owner then return 'missing' end
    note(ARGV[2], ARGV[1])
    forget_session(ARGV[3], owner)
    return 'done'"
);

/// ARGV: kept, line, owner.
pub(super) const DELETE_SESSIONS: &str = script!(
    "local ids = redis.call('ZRANGE', P .. 'sessions:' .. ARGV[3], 0, -1)
    if #ids > 0 then note(ARGV[2], ARGV[1]) end
    for _, id in ipairs(ids) do forget_session(id, ARGV[3]) end
    return #ids"
);

/// ARGV: until when, how many.
pub(super) const PURGE_SESSIONS: &str = script!(
    "local ids = redis.call('ZRANGEBYSCORE', P .. 'sessions_by_expiry', '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
    for _, id in ipairs(ids) do
        forget_session(id, redis.call('HGET', P .. 'session:' .. id, 'owner') or '')
    end
    return #ids"
);

/// ARGV: kept, since. The revision, whether the lines are all there are, and the lines.
pub(super) const CHANGES_SINCE: &str = script!(
    "local last = tonumber(redis.call('GET', P .. 'revision') or '0')
    local since = tonumber(ARGV[2])
    if not since or since > last or last - since > tonumber(ARGV[1]) then return {last, 0, {}} end
    local lines = {}
    for _, entry in ipairs(redis.call('XRANGE', P .. 'changes', string.format('%.0f', since + 1), '+')) do
        lines[#lines + 1] = entry[2][2]
    end
    return {last, 1, lines}"
);
