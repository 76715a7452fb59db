-- Publishes messages if Redis is at the offset that the call names, and moves the
-- offset. Otherwise it does nothing, so that it is harmless if it is run twice,
-- late, or by a process that has lost its lease.
--
-- A transaction of the journal is named by its tid and its mark, which Go calls
-- its commit id. A branch is what Go calls a generation.
--
-- KEYS
--   1  the state, a hash:
--        tid, mark            the last transaction that is done as a whole
--        next_tid, next, seq  the transaction after it, if it has begun: its tid, its
--                             mark, and the seq of its last change that is done, -1
--                             if only an entry of it is; next is '' if none has begun
--        branch               the generation: how often the offset was reset
--        entry                id of the stream's last entry in this branch, or 0-0
--        at                   time of the last call, by Redis's clock, in ms
--   2  the stream, or absent; in the same slot as the state
--
-- ARGV
--   1      '1' to reset, if Redis is exactly at what 2 to 4 say; otherwise '0'
--   2..4   the tid ('' if the state must be empty), mark and branch expected
--   5      the branch that the call is of, and the new one if 1 is '1'
--   6, 7   tid and mark of the transaction that must be the last whole one
--   8, 9   tid and mark of the last whole transaction when all is done
--   10..12 tid, mark and seq of the transaction inside which the call ends; ''
--   13, 14 mark of the transaction inside which the call begins, and the seq up to
--          which it must have been done; '' if none
--   15     the stream's maximal length in entries, approximately
--   16     the age in ms after which entries are trimmed; '0' never
--   17     number of messages, each of which follows as
--            seq, channel, payload
--          and if there is a stream also as
--            id, time, author, ipnr, authenticated, comment, types, old_types,
--            traceparent, tracestate
--          where the last four may be '' for none
--   then   number of transactions that these are of, each of which follows as
--            tid, mark, number of its messages
--
-- Reply, an array
--   'done', published, unheard
--       unheard counts those of the published messages that nobody received
--   'stopped', error, n, published, unheard
--       Redis refused the nth message, counted from 1. What was done before it is
--       remembered.
--   'elsewhere', tid, mark, branch, last
--       nothing was done, because Redis is at this offset; tid is '' if the state is
--       empty; last is the last id of the stream, or ''
--   'rewound', tid, mark, branch, last
--       nothing was done, because Redis is inside this transaction, and the call
--       passes it without having it: it is of another history
--   'branch', branch
--       nothing was done, because the call is of another branch: the offset was reset
--       after it was made, or before Redis lost that
-- An error reply means that no message was published. Every write comes after one
-- that Redis refuses if it would refuse any (out of memory, read-only, MISCONF), so
-- that it never stops between a message and the memory of it.

local state, stream = KEYS[1], KEYS[2]
local call, pcall = redis.call, redis.pcall

local s = call('HMGET', state, 'tid', 'mark', 'next_tid', 'next', 'seq', 'branch', 'entry')
local tid, mark, begun_tid, begun, seq, branch, entry = s[1], s[2], s[3], s[4], s[5], s[6], s[7]
if not tid then
  tid, mark, begun_tid, begun, seq, branch, entry = '', '', '', '', '', '', '0-0'
end

local messages = tonumber(ARGV[17])
local width = stream and 13 or 3
local group = 18 + messages * width -- how many transactions
local transactions = tonumber(ARGV[group])

local function answer(word, at_tid, at_mark)
  local last = ''
  if stream then
    local info = pcall('XINFO', 'STREAM', stream)
    if info.err and not string.find(info.err, 'no such key', 1, true) then
      return info
    end
    for i = 1, #info, 2 do
      if info[i] == 'last-generated-id' then last = info[i + 1] end
    end
  end
  return {word, at_tid, at_mark, branch, last}
end

local function stands(at_tid, at_mark)
  return tid == at_tid and mark == at_mark
end

local write = {'HSET', state}
local begins = ARGV[1] == '1' and
  (stands(ARGV[2], ARGV[3]) or begun ~= '' and begun_tid == ARGV[2] and begun == ARGV[3]) and
  (tid == '' or tonumber(branch) <= tonumber(ARGV[4]))
if begins then
  tid, mark, begun_tid, begun, seq, branch, entry = ARGV[6], ARGV[7], '', '', '', ARGV[5], '0-0'
  write = {'HSET', state, 'tid', tid, 'mark', mark, 'next_tid', '', 'next', '', 'seq', '', 'branch', branch, 'entry', entry}
elseif tid == '' or not stands(ARGV[6], ARGV[7]) then
  return answer('elsewhere', tid, mark)
end

if branch ~= ARGV[5] then
  return {'branch', branch}
end
if begun ~= '' and ARGV[13] ~= begun then
  local passes, has
  if transactions > 0 then
    passes, has = true, ARGV[group + 2] == begun
  else
    passes = tonumber(ARGV[8]) >= tonumber(begun_tid) or ARGV[11] ~= ''
    has = ARGV[9] == begun or ARGV[11] == begun
  end
  if passes and not has then
    return answer('rewound', begun_tid, begun)
  end
end
if ARGV[13] ~= '' then
  -- A failover has taken back the beginning of this transaction.
  if begun ~= ARGV[13] or tonumber(seq) < tonumber(ARGV[14]) then
    return answer('elsewhere', tid, mark)
  end
end

local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local at = string.format('%.0f', now)
write[#write + 1], write[#write + 2] = 'at', at
call(unpack(write)) -- the write that is refused if any would be

if stream then
  call('XTRIM', stream, 'MAXLEN', '~', ARGV[15])
  local age = tonumber(ARGV[16])
  for look = 1, age > 0 and 16 or 0 do
    -- The first look is at one entry: most often it is young enough.
    local count = look == 1 and 1 or 64
    local old = call('XRANGE', stream, '-', '+', 'COUNT', count)
    local expired = 0
    for _, e in ipairs(old) do
      local f = e[2]
      if f[#f - 1] ~= 'at' or tonumber(f[#f]) >= now - age then break end
      expired = expired + 1
    end
    if expired > 0 then
      call('XTRIM', stream, 'MAXLEN', call('XLEN', stream) - expired)
    end
    if expired < count then break end
  end
end

local published, unheard = 0, 0

local function append(i)
  local types, old_types, parent, state = ARGV[i + 9], ARGV[i + 10], ARGV[i + 11], ARGV[i + 12]
  if types == '' and old_types == '' and parent == '' then
    return pcall('XADD', stream, ARGV[i + 3], 'channel', ARGV[i + 1], 'payload', ARGV[i + 2], 'mark', mark,
      'time', ARGV[i + 4], 'author', ARGV[i + 5], 'ipnr', ARGV[i + 6], 'authenticated', ARGV[i + 7],
      'comment', ARGV[i + 8], 'before', entry, 'at', at)
  end
  local add = {'XADD', stream, ARGV[i + 3], 'channel', ARGV[i + 1], 'payload', ARGV[i + 2], 'mark', mark,
    'time', ARGV[i + 4], 'author', ARGV[i + 5], 'ipnr', ARGV[i + 6], 'authenticated', ARGV[i + 7],
    'comment', ARGV[i + 8]}
  local n = #add
  if types ~= '' then
    add[n + 1], add[n + 2] = 'types', types
    n = n + 2
  end
  if old_types ~= '' then
    add[n + 1], add[n + 2] = 'old_types', old_types
    n = n + 2
  end
  if parent ~= '' then
    add[n + 1], add[n + 2] = 'traceparent', parent
    n = n + 2
  end
  if state ~= '' then
    add[n + 1], add[n + 2] = 'tracestate', state
    n = n + 2
  end
  add[n + 1], add[n + 2], add[n + 3], add[n + 4] = 'before', entry, 'at', at
  return pcall(unpack(add))
end

-- Of an entry that was appended and whose message was then refused, the
-- repetition only publishes the message.
local function hand(i)
  if stream and ARGV[i + 3] ~= entry then
    local id = append(i)
    if type(id) == 'table' then return id.err end
    entry = id
  end
  local heard = pcall('PUBLISH', ARGV[i + 1], ARGV[i + 2])
  if type(heard) == 'table' then return heard.err end
  published = published + 1
  if heard == 0 then unheard = unheard + 1 end
end

local whole_tid, whole_mark = tid, mark
local i = 18
for t = 1, transactions do
  local g = group + 1 + (t - 1) * 3
  local last, passed -- seq of this transaction's last change that is done; up to which it was before
  tid, mark = ARGV[g], ARGV[g + 1]
  if mark == begun then last, passed = seq, tonumber(seq) end
  for _ = 1, tonumber(ARGV[g + 2]) do
    if not passed or tonumber(ARGV[i]) > passed then
      local refused = hand(i)
      if refused then
        -- An entry without its message belongs to this history, too.
        if not last and stream and ARGV[i + 3] == entry then last = '-1' end
        if last then
          begun_tid, begun, seq = tid, mark, last
        elseif t > 1 then
          begun_tid, begun, seq = '', '', ''
        end
        call('HSET', state, 'tid', whole_tid, 'mark', whole_mark, 'next_tid', begun_tid, 'next', begun, 'seq', seq, 'entry', entry)
        return {'stopped', refused, (i - 18) / width + 1, published, unheard}
      end
      last = ARGV[i]
    end
    i = i + width
  end
  whole_tid, whole_mark = tid, mark
end

if transactions == 0 and begun ~= '' and tonumber(ARGV[8]) < tonumber(begun_tid) then
  -- It ends before what is begun, which the next call has to go on with.
  call('HSET', state, 'tid', ARGV[8], 'mark', ARGV[9])
  return {'done', published, unheard}
end
local after_seq = ARGV[12]
if begun ~= '' and begun == ARGV[11] and tonumber(seq) > tonumber(after_seq) then
  after_seq = seq -- the call was late: more of it has been done
end
call('HSET', state, 'tid', ARGV[8], 'mark', ARGV[9], 'next_tid', ARGV[10], 'next', ARGV[11], 'seq', after_seq, 'entry', entry)
return {'done', published, unheard}
